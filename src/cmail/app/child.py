"""Child: one process that the supervisor forked, and the tether between the two.

The tether is a socket pair that speaks the lines of net/control. The supervisor asks (ping, settings.apply,
stop) and never waits for an answer; when it is gone the child reads that end and stops in order."""

import contextlib
import os
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cmail.app import rights
from cmail.net.control import LINE_MAX, ControlError, decode, encode
from cmail.observe import log_file

BACK_OFF_S: Final = 0.1  # before the first restart; doubled for each that follows soon
BACK_OFF_MAX_S: Final = 5.0
WELL_AFTER_S: Final = 30.0  # a process that lived so long starts with a short wait again
RECEIVE_OCTETS: Final = 65536
HANDED_MAX: Final = 250  # sockets in one message: the kernel takes 253 (SCM_MAX_FD)

Answered = Callable[[dict[str, Any] | None, str], None]  # the answer or None, and why not


@dataclass(slots=True)
class Question:
    """One that was asked and is not answered yet."""

    asked_at: float
    answered: Answered


@dataclass(frozen=True, slots=True)
class Tether:
    """The child's end: a stream for questions, and the way that new listening sockets come."""

    stream: socket.socket
    hand: socket.socket


Role = Callable[[Tether], int]  # what a child does, down to its exit code


class Child:
    """A place for a process: it may be running, or wait to be started (again)."""

    def __init__(self, name: str, role: Role) -> None:
        self.name = name
        self.role = role
        self.pid = 0  # 0: not running
        self.stream: socket.socket | None = None
        self.hand: socket.socket | None = None
        self.is_ready = False  # it answered: its parts are built and it serves
        self.has_been_ready = False
        self.restarts = 0
        self.start_at = 0.0
        self.started_at = 0.0
        self._back_off_s = BACK_OFF_S
        self._questions: deque[Question] = deque()
        self._incoming = bytearray()
        self._outgoing = bytearray()

    def start(self, now: float, before: Callable[[], None]) -> None:
        """Fork. `before` runs in the child first: it lets go of what is the supervisor's alone. OSError
        when there is no room for a process more."""
        stream, child_stream = socket.socketpair()
        hand, child_hand = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        sys.stdout.flush()
        sys.stderr.flush()
        log_file.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            stream.close()
            hand.close()
            _live(self.name, parent, before, self.role, Tether(child_stream, child_hand))
        child_stream.close()
        child_hand.close()
        stream.setblocking(False)
        hand.setblocking(False)
        self.pid, self.stream, self.hand = pid, stream, hand
        self.started_at, self.is_ready = now, False
        self._incoming.clear()
        self._outgoing.clear()

    def ended(self, now: float) -> None:
        """It is gone: nothing that was asked will be answered; say when to start it again."""
        self.pid, self.is_ready = 0, False
        self.put_off(now)
        self.let_go()
        questions, self._questions = self._questions, deque()
        for question in questions:
            question.answered(None, f"{self.name} has ended")

    def put_off(self, now: float) -> None:
        """Start it (again) a moment later, and later each time."""
        if now - self.started_at > WELL_AFTER_S:
            self._back_off_s = BACK_OFF_S
        self.start_at = now + self._back_off_s
        self._back_off_s = min(self._back_off_s * 2, BACK_OFF_MAX_S)

    def let_go(self) -> None:
        """Close our ends of the tether."""
        for end in (self.stream, self.hand):
            if end is not None:
                end.close()
        self.stream = self.hand = None
        self._outgoing.clear()

    def ask(
        self,
        now: float,
        question: str,
        arguments: Mapping[str, object],
        answered: Answered,
        fds: tuple[int, ...] = (),
    ) -> None:
        """Ask; `answered` is called once, from read() or ended(). New sockets go by hand before."""
        if self.stream is None or self.hand is None:
            answered(None, f"{self.name} is not running")
            return
        try:
            for start in range(0, len(fds), HANDED_MAX):
                socket.send_fds(self.hand, [b"f"], fds[start : start + HANDED_MAX])
        except OSError as error:  # it does not listen, or has just ended
            answered(None, f"{self.name} could not be handed a socket: {error.strerror or error}")
            return
        self._questions.append(Question(now, answered))
        self._outgoing += encode({**arguments, "ask": question})
        self.write()

    def waits_since(self) -> float | None:
        """When the oldest question was asked that has no answer yet."""
        return self._questions[0].asked_at if self._questions else None

    @property
    def has_outgoing(self) -> bool:
        """A part of a question is not written yet."""
        return bool(self._outgoing)

    def write(self) -> None:
        """Write what can be written now."""
        if self.stream is None:
            return
        try:
            while self._outgoing:
                sent = self.stream.send(self._outgoing)
                del self._outgoing[:sent]
        except BlockingIOError:
            return
        except OSError:
            self._outgoing.clear()  # nobody will ever read it

    def read(self) -> bool:
        """Take the answers that came; False when no more will come."""
        try:
            octets = self.stream.recv(RECEIVE_OCTETS) if self.stream else b""
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._incoming += octets
        while (end := self._incoming.find(b"\n")) >= 0:
            line = bytes(self._incoming[: end + 1])
            del self._incoming[: end + 1]
            self._take(line)
        if len(self._incoming) > LINE_MAX:
            self._incoming.clear()
        return bool(octets)

    def _take(self, line: bytes) -> None:
        try:
            fields = decode(line)
        except ControlError as error:
            fields = {"error": error.words}
        if not self._questions or "row" in fields:
            return
        question = self._questions.popleft()
        if isinstance(ok := fields.get("ok"), dict):
            question.answered(ok, "")
        else:
            question.answered(None, str(fields.get("error")))

    def is_gone(self) -> bool:
        """Whether it was taken away and nobody told us."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def kill(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def take_handed(hand: socket.socket, count: int) -> list[int]:
    """In a child: the descriptors that came before a question that speaks of so many."""
    fds: list[int] = []
    while len(fds) < count:
        _, some, _, _ = socket.recv_fds(hand, 1, HANDED_MAX)
        if not some:
            raise ConnectionError("the supervisor handed over fewer sockets than it said")
        fds += some
    return fds


def _live(name: str, parent: int, before: Callable[[], None], role: Role, tether: Tether) -> None:
    """The child from its first to its last breath; never returns."""
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the supervisor hears them and tells us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        before()
        log_file.identify(name)
        rights.name_process(f"cmail-{name}")
        rights.end_with_parent(parent)
        code = role(tether)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 70
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            log_file.flush()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
