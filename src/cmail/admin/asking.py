"""Asks the processes of a running server and puts the answers of its workers together.

Blocking, without an event loop: for the commands. Listings are asked for in pages, so a reader that
stops (a pager) holds nothing open in a worker."""

import heapq
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cmail.admin.rows import Row, sort_key
from cmail.net.control_client import Answer, BlockingControlClient, ControlError, NotRunningError, socket_path

_NO_RIGHT: Final = "no right to talk to the server: run this as root or as the server's user"
PAGE: Final = 1000
CHANGE_S: Final = 120.0  # a change of a million recipients is one commit


class Server:
    """The running server of a data folder."""

    def __init__(self, data_dir: str) -> None:
        self.folder = os.path.join(data_dir, "run")
        self.silent: list[str] = []  # workers that did not answer though the server runs

    def ask(self, process: str, question: str, **arguments: Any) -> dict[str, Any]:
        """One process, one question, its last word."""
        return BlockingControlClient(self.folder, process).ask(question, arguments).ok

    def workers(self) -> list[str]:
        """The names of the worker processes that have a socket; NotRunningError when there is none."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            names = []
        except PermissionError:
            raise ControlError(_NO_RIGHT, 77) from None
        found = [n.removesuffix(".sock") for n in names if n.startswith("worker-") and n.endswith(".sock")]
        if not found:
            raise NotRunningError("the server is not running")
        return sorted(found, key=lambda name: (len(name), name))

    def is_running(self) -> bool:
        """Whether a worker takes questions. ControlError: we have no right to know."""
        try:
            return any(self._listens(name) for name in self.workers())
        except NotRunningError:
            return False

    def _listens(self, name: str) -> bool:
        with socket.socket(socket.AF_UNIX) as one, socket_path(self.folder, name) as path:
            try:
                one.connect(path)
            except PermissionError:
                raise ControlError(_NO_RIGHT, 77) from None
            except OSError:
                return False
            return True

    def ask_workers(self, question: str, timeout_s: float = CHANGE_S, **arguments: Any) -> list[Answer]:
        """Every worker that runs; NotRunningError when none does. Who does not is in `silent`."""
        answers, away = [], None
        for name in self.workers():
            client = BlockingControlClient(self.folder, name, timeout_s)
            try:
                answers.append(client.ask(question, arguments))
            except NotRunningError as error:
                away = error
                self.silent.append(name)
        if not answers and away is not None:
            raise away
        return answers

    def rows(self, what: Mapping[str, Any], limit: int = 0) -> Iterator[Row]:
        """The recipients of a filter, all workers together, oldest first; NotRunningError at the
        first step when no worker runs."""
        page = min(PAGE, limit) if limit else PAGE
        firsts = []
        away = None
        for name in self.workers():
            try:
                firsts.append((name, self._page(name, what, page, (0, -1))))
            except NotRunningError as error:
                away = error
                self.silent.append(name)
        if not firsts and away is not None:
            raise away
        merged = heapq.merge(*(self._pages(n, what, page, rows) for n, rows in firsts), key=sort_key)
        for count, row in enumerate(merged):
            if limit and count >= limit:
                return
            yield row

    def _pages(self, name: str, what: Mapping[str, Any], page: int, rows: list[Row]) -> Iterator[Row]:
        while rows:
            yield from rows
            if len(rows) < page:
                return
            rows = self._page(name, what, page, sort_key(rows[-1]))

    def _page(self, name: str, what: Mapping[str, Any], page: int, after: tuple[int, int]) -> list[Row]:
        client = BlockingControlClient(self.folder, name, CHANGE_S)
        return client.ask("queue.list", {"filter": dict(what), "limit": page, "after": after}).rows
