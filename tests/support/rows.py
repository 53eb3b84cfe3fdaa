"""Rows of the pages of rows: how each column is tried, and peers that note what they hear first."""

import socket
import threading
import tomllib
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from cmail.web.pages.table_kinds import KINDS
from tests.support.controls import House, Way

PATHS: Final = {kind.key: kind.path for kind in KINDS}
# column ("collect.host") -> the way in which it is tried
COLUMNS: Final[dict[str, Way]] = {}


def column(key: str) -> Callable[[Way], Way]:
    """The way in which a column is tried."""

    def note(way: Way) -> Way:
        COLUMNS[key] = way
        return way

    return note


def add(house: House, key: str, typed: Mapping[str, str | bool], password: str = "") -> dict[str, Any]:
    """A row on its page, Save Settings; the row as the file has it now."""
    path = PATHS[key]
    values: dict[str, str | bool] = {f"{key}.{name}": value for name, value in typed.items()}
    if password:
        values["password"] = password
    page = house.browser.post(f"{path}/add", f"{path}/add", values)
    assert "Save Settings makes it hold" in page.text, page.text
    house.save()
    found: Any = tomllib.loads(house.cmail.config.read_text())
    for part in key.split("."):
        found = found[part]
    for name, value in typed.items():
        in_file = found[-1].get(name)
        assert in_file is None or str(value) in (str(in_file), "\n".join(map(str, listed(in_file)))), name
    return dict(found[-1])


def listed(value: Any) -> list[Any]:
    """A list of one is one too."""
    return value if isinstance(value, list) else [value]


class Hears:
    """A server that notes the first octets of each connection, and closes it."""

    def __init__(self, host: str = "127.0.0.1", greeting: bytes = b"") -> None:
        self._server = socket.create_server((host, 0))
        self.port = self._server.getsockname()[1]
        self._greeting = greeting
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with client:
                client.sendall(self._greeting)
                client.settimeout(20)
                try:
                    self.heard.append(client.recv(1000))
                except OSError:
                    self.heard.append(b"")
