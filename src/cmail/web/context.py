"""WebContext: what the pages and the API are given; they reach nothing by themselves."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cmail.admin.certificates import Certificate
from cmail.admin.checks.board import CheckBoard
from cmail.admin.history import History
from cmail.admin.incoming import Incoming
from cmail.admin.journal import Journal
from cmail.admin.keys import Keys
from cmail.admin.overview import Overviews
from cmail.admin.processes import Processes
from cmail.observe.metrics import Snapshot
from cmail.web.desk import Desk
from cmail.web.sessions import Sessions


@dataclass(frozen=True, slots=True)
class WebContext:
    """One admin process."""

    version: str
    started_wall_ms: int
    data_dir: str
    hostname: Callable[[], str]  # as the settings say it now
    figures: Callable[[], Awaitable[Snapshot]]  # of all processes, added up; may fail
    processes: Processes
    overviews: Overviews
    desk: Desk
    keys: Keys
    sessions: Sessions
    journal: Journal
    incoming: Incoming
    checks: CheckBoard
    message_size_max: Callable[[], int] = lambda: 50 << 20  # octets, as the settings say it now
    smtp_password: Callable[[], str] = lambda: ""  # for the upstream server, as the running server has it
    password_of: Callable[[str], str] = lambda path: ""  # by the file that a row names, likewise
    ca_file: Callable[[], str] = lambda: ""  # absolute
    certificate: Callable[[], Certificate | None] = lambda: None  # that clients of the server are shown
    hosts: frozenset[str] = frozenset()  # further names that browsers may use for us
    history: History | None = None  # figures of the last 48 hours; None: nobody counts
