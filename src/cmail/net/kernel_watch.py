"""KernelWatch: the socket on which the kernel tells of devices, addresses and routes, and is asked."""

import asyncio
import errno
import os
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
_TORN: Final = Done(is_interrupted=True)
AGAIN_S: Final = 1.0  # until a kernel that did not answer is asked once more


@dataclass(frozen=True, slots=True)
class Way:
    """By which device the kernel goes to an address."""

    index: int
    source: IPAddress | None

    def leads_to(self, address: IPAddress) -> bool:
        """Whether an answer can come back: IPv6 goes from a link-local address when there is no other."""
        return (
            self.source is None
            or self.source.version == 4
            or self.source.is_link_local <= address.is_link_local
        )


class KernelWatch:
    """Keeps a Kernel up to date, and calls `changed` once for all that came together."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.kernel = Kernel()
        self._changed = changed
        self._events: socket.socket | None = None
        self._questions: socket.socket | None = None
        self._sequence = 0
        self._has_lost = False  # events, and what still waits is older than what the kernel shows now
        self._later: asyncio.TimerHandle | None = None

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
        if self._later is not None:
            self._later.cancel()
        if self._events is not None:
            asyncio.get_running_loop().remove_reader(self._events.fileno())
            self._events.close()
        if self._questions is not None:
            self._questions.close()
        self._events = self._questions = None

    def way_to(self, address: IPAddress) -> Way | None:
        """Which way the kernel goes to an address now; None: it knows none that an answer comes back by."""
        for message in self._ask(route_question(address, self._next()), is_dump=False):
            if isinstance(message, Added) and isinstance(message.what, Route) and message.what.indexes:
                way = Way(message.what.indexes[0], message.what.source)
                return way if way.leads_to(address) else None
        return None

    def _on_events(self) -> None:
        try:
            messages, is_all = self._hear()
        except (OSError, ValueError):  # ENOBUFS: more came than we could take
            self._has_lost, messages, is_all = True, [], False
        if self._has_lost:
            # The kernel tells nothing more until all that waits was taken, and does not say so a second time.
            if is_all:
                self._has_lost = False
                self._ask_anew(self._ask_for_all)
            return
        self.kernel.apply(messages)
        if self.kernel.is_doubtful:
            self._ask_anew(self._ask_for_routes)
        else:
            self._changed()

    def _ask_anew(self, ask: Callable[[], bool]) -> None:
        """What is known may be wrong. A kernel that does not answer, or changes all the time, is asked for
        everything in a moment."""
        try:
            is_whole = ask()
        except (OSError, ValueError):
            is_whole = False
        if not is_whole and self._later is None:
            self._later = asyncio.get_running_loop().call_later(AGAIN_S, self._ask_later)
        self._changed()

    def _ask_later(self) -> None:
        self._later = None
        self._ask_anew(self._ask_for_all)

    def _hear(self) -> tuple[list[Message], bool]:
        """What waits, and whether that was all: behind a limit the loop has its turn before the rest."""
        assert self._events is not None
        found: list[Message] = []
        is_all = False
        for _ in range(DATAGRAMS_A_TURN):
            try:
                octets, sender = self._events.recvfrom(DATAGRAM_MAX)
            except BlockingIOError:
                is_all = True
                break
            if sender[0] == 0:  # of the kernel; any program could send us something
                found += parse(octets)
        if any(isinstance(message, Failed) for message in found):
            raise OSError(errno.ENOBUFS, "lost")
        return found, is_all

    def _ask_for_all(self) -> bool:
        dumps = [self._dump(kind) for kind in (GET_LINKS, GET_ADDRESSES, GET_ROUTES)]
        self.kernel.renew(message for dump in dumps for message in dump)
        return not any(dump[-1] == _TORN for dump in dumps)

    def _ask_for_routes(self) -> bool:
        dump = self._dump(GET_ROUTES)
        self.kernel.renew_routes(dump)
        return dump[-1] != _TORN

    def _dump(self, kind: int) -> list[Message]:
        """All of a kind; asked again when something changed in the middle of it. OSError."""
        found: list[Message] = []
        for _ in range(DUMP_TRIES):
            found = self._ask(dump_question(kind, self._next()), is_dump=True)
            if isinstance(found[-1], Failed):
                raise OSError(found[-1].errno, os.strerror(found[-1].errno))
            if found[-1] != _TORN:
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
