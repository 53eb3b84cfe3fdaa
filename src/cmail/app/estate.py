"""Estate: what the supervisor holds and every process that it forks inherits."""

import os
from dataclasses import dataclass, field
from typing import Final

from cmail.app.ports import Port
from cmail.app.settings import Settings
from cmail.app.snapshot import Snapshot
from cmail.link.lived import LivedClock
from cmail.net.control import RUN_FOLDER
from cmail.net.tls import ServerTls
from cmail.storage.known_places import KnownPlaces

ADMIN: Final = "admin"  # the kind of the admin address among the ports
LINK_FILE: Final = "link.json"  # in the data folder: what the link process knows
CLOCK_FILE: Final = "clock.json"  # beside it: how late it was when it looked last


@dataclass(slots=True)
class Estate:
    """Settings, bound sockets, the certificate that perhaps only root could read."""

    snapshot: Snapshot
    ports: list[Port]  # of [[listener]]
    admin_port: Port | None
    tls: ServerTls
    workers_count: int
    started_wall_ms: int
    lived: LivedClock  # one for all processes
    places: KnownPlaces = field(default_factory=KnownPlaces)  # for all workers, and those started later
    settings_file: str = ""  # as the page gets to it (Source.reach)

    @property
    def settings(self) -> Settings:
        """Those that hold now."""
        return self.snapshot.settings

    @property
    def data_dir(self) -> str:
        """Where everything is kept; fixed for the life of the server."""
        return self.snapshot.settings.host.data_dir

    @property
    def run_folder(self) -> str:
        """Where the control sockets are."""
        return self.folder(RUN_FOLDER)

    def folder(self, name: str) -> str:
        """A folder in the data folder."""
        return os.path.join(self.data_dir, name)

    def release(self) -> None:
        """In a process that was just forked and has taken (dup) what is its own: close the rest, so
        that a port is free as soon as the supervisor and its worker have let go of it."""
        for port in [*self.ports, *([self.admin_port] if self.admin_port else [])]:
            for bound in port.sockets:
                bound.close()
