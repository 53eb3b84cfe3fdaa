"""KernelWatch: the socket on which the kernel tells of devices, addresses and routes, and is asked."""

import asyncio
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cmail.net.kernel import Kernel
from cmail.net.rtnetlink import (
    GET_ADDRESSES,
    GET_LINKS,
    GET_ROUTES,
    GROUPS,
    Added,
    Done,
    Failed,
    Message,
    Route,
    dump_question,
    parse,
    route_question,
)
from cmail.world import IPAddress

DATAGRAM_MAX: Final = 1 << 16
EVENTS_BUFFER: Final = 1 << 20  # octets of events that may wait; more, and all is asked anew
ANSWER_S: Final = 2.0  # the kernel answers at once
DUMP_TRIES: Final = 3  # when something changes in the middle of a dump
DATAGRAMS_A_TURN: Final = 200


@dataclass(frozen=True, slots=True)
class Way:
    """By which device the kernel goes to an address."""

    index: int
    source: IPAddress | None


class KernelWatch:
    """Keeps a Kernel up to date, and calls `changed` once for all that came together."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.kernel = Kernel()
        self._changed = changed
        self._events: socket.socket | None = None
        self._questions: socket.socket | None = None
        self._sequence = 0

    def open(self) -> None:
        """Begin to listen, and ask for all that is there. OSError: this kernel does not tell."""
        self._events = _open(GROUPS)
        self._events.setblocking(False)
        self._questions = _open(0)
        self._questions.settimeout(ANSWER_S)
        self._ask_for_all()
        asyncio.get_running_loop().add_reader(self._events.fileno(), self._on_events)

    def close(self) -> None:
        """Listen no more."""
        if self._events is not None:
            asyncio.get_running_loop().remove_reader(self._events.fileno())
            self._events.close()
        if self._questions is not None:
            self._questions.close()
        self._events = self._questions = None

    def way_to(self, address: IPAddress) -> Way | None:
        """Which way the kernel goes to an address now; None: it knows none."""
        for message in self._ask(route_question(address, self._next()), is_dump=False):
            if isinstance(message, Added) and isinstance(message.what, Route) and message.what.indexes:
                return Way(message.what.indexes[0], message.what.source)
        return None

    def _on_events(self) -> None:
        try:
            messages = self._hear()
        except (OSError, ValueError) as error:  # ENOBUFS: more came than we could take
            if isinstance(error, OSError) and error.errno != errno.ENOBUFS:
                raise
            self._ask_for_all()
        else:
            self.kernel.apply(messages)
            if self.kernel.is_doubtful:
                self.kernel.renew_routes(self._dump(GET_ROUTES))
        self._changed()

    def _hear(self) -> list[Message]:
        """All that waits, up to a limit: then the loop has its turn before the rest."""
        assert self._events is not None
        found: list[Message] = []
        for _ in range(DATAGRAMS_A_TURN):
            try:
                octets, sender = self._events.recvfrom(DATAGRAM_MAX)
            except BlockingIOError:
                break
            if sender[0] == 0:  # of the kernel; any program could send us something
                found += parse(octets)
        if any(isinstance(message, Failed) for message in found):
            raise OSError(errno.ENOBUFS, "lost")
        return found

    def _ask_for_all(self) -> None:
        self.kernel.renew(
            message for kind in (GET_LINKS, GET_ADDRESSES, GET_ROUTES) for message in self._dump(kind)
        )

    def _dump(self, kind: int) -> list[Message]:
        """All of a kind; asked again when something changed in the middle of it."""
        found: list[Message] = []
        for _ in range(DUMP_TRIES):
            found = self._ask(dump_question(kind, self._next()), is_dump=True)
            if found[-1] != Done(is_interrupted=True):
                break
        return found

    def _ask(self, question: bytes, *, is_dump: bool) -> list[Message]:
        """What the kernel answers; it does so at once. A dump ends with Done or Failed. OSError."""
        assert self._questions is not None
        self._questions.sendto(question, (0, 0))
        found: list[Message] = []
        while True:
            found += parse(self._questions.recv(DATAGRAM_MAX))
            if not is_dump or (found and isinstance(found[-1], Done | Failed)):
                return found

    def _next(self) -> int:
        self._sequence = (self._sequence + 1) & 0x7FFFFFFF
        return self._sequence


def _open(groups: int) -> socket.socket:
    """A socket to the kernel; anybody may have one."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, EVENTS_BUFFER)
        made.bind((0, groups))
    except OSError:
        made.close()
        raise
    return made
