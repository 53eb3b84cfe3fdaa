"""Supervisor: starts the processes, restarts those that end, answers signals, and never reads the network.

A plain select loop, no event loop: what forks must have nothing half done in it. It never waits for a
child; what it asks them is answered later or not at all."""

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from cmail.app.child import Child
from cmail.app.systemd import Notifier
from cmail.net.control import (
    LINE_MAX,
    ControlError,
    decode,
    encode,
    is_there,
    listen,
    listen_anew,
    remove_stale,
)
from cmail.observe import log_file, maillog

PING_S: Final = 2.0
DEAF_S: Final = 10.0  # a process that does not answer for so long is mentioned
STUCK_S: Final = 60.0  # ... and for so long is ended and started again
STOP_S: Final = 30.0  # for sessions to end and outcomes to be recorded; then SIGKILL
ASKERS_MAX: Final = 20  # control connections at once
ASKER_S: Final = 60.0
MISTAKE_S: Final = 0.2  # so that one which comes again does not fill the log at once
TURN_S: Final = 0.005  # no turn is shorter when nothing happens, whatever is due: we never spin
EX_CONFIG: Final = 78
EX_SOFTWARE: Final = 70
EX_OSERR: Final = 71
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

Answer = Callable[[dict[str, Any]], None]  # takes the last word of a control question


class Supervisor:
    """The life of the processes. What they are and what a reload means is decided by the caller."""

    def __init__(
        self,
        children: Sequence[Child],
        notifier: Notifier,
        run_folder: str,
        *,
        reload: Callable[[Answer], None],
        status: Callable[[], dict[str, Any]],
        ready: Callable[[], None],
        stopping: Callable[[], None],
    ) -> None:
        self.children = list(children)
        self._notifier = notifier
        self._reload, self._status = reload, status
        self._ready, self._stopping = ready, stopping
        self._selector = selectors.DefaultSelector()
        self._signals, self._wakeup = socket.socketpair()
        self._askers: dict[socket.socket, tuple[bytearray, float]] = {}
        self._run_folder = run_folder
        remove_stale(run_folder)
        self._control = listen(run_folder, "supervisor")
        self._is_ready = False
        self._stop_at = 0.0  # when who has not ended by then is killed; 0: we are not stopping
        self._code = 0
        self._pinged_at = 0.0
        self._watchdog_at = 0.0
        self._deaf: set[str] = set()

    def run(self) -> int:
        """Until it is told to stop; the exit code."""
        self._take_signals()
        self._selector.register(self._control, selectors.EVENT_READ, self._on_asker)
        for child in self.children:
            if not self._stop_at:
                self._start(child)
        while not self._is_over():
            try:
                self._turn()
            except Exception:  # a mistake of ours must not take the whole server with it
                maillog.failed("supervisor")
                time.sleep(MISTAKE_S)
        self._control.close()
        return self._code

    def _turn(self) -> None:
        for key, events in self._selector.select(self._wait_s()):
            key.data(key.fileobj, events)
        self._tend(time.monotonic())

    def _take_signals(self) -> None:
        for end in (self._signals, self._wakeup):
            end.setblocking(False)
        for number in _SIGNALS:
            signal.signal(number, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._signals, selectors.EVENT_READ, self._on_signals)

    def _on_signals(self, _file: object, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in set(self._signals.recv(1000)):
                if number in (signal.SIGTERM, signal.SIGINT):
                    self.stop(f"got {signal.Signals(number).name}")
                elif number == signal.SIGHUP:
                    self._reload(lambda answer: None)
        self._reap()

    # --- the processes ------------------------------------------------------------------------

    def _start(self, child: Child) -> None:
        now = time.monotonic()
        try:
            child.start(now, self._let_go)
        except OSError as error:  # no room for a process more: the others are looked after all the same
            maillog.warned(f"{child.name} cannot be started now: {error.strerror or error}")
            child.put_off(now)
            if not child.has_been_ready:
                self._give_up(child, EX_OSERR)
            return
        assert child.stream is not None
        self._selector.register(child.stream, selectors.EVENT_READ, lambda file, _: self._hear(child, file))
        self._ping(child)

    def _hear(self, child: Child, stream: Any) -> None:
        is_there = child.stream is stream  # else its end was seen in this same turn
        if is_there and not child.read():
            self._selector.unregister(stream)  # it ends; SIGCHLD follows

    def _let_go(self) -> None:
        """In a child that was just forked: what is ours alone."""
        self._selector.close()
        for end in (self._signals, self._wakeup, self._control, *self._askers):
            end.close()
        for child in self.children:
            child.let_go()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:  # there is none
                return
            if pid == 0:
                return
            for child in self.children:
                if child.pid == pid:
                    self._on_end(child, os.waitstatus_to_exitcode(status))

    def _on_end(self, child: Child, code: int) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(child.stream)  # type: ignore[arg-type]  # None is a ValueError
        child.ended(time.monotonic())
        self._deaf.discard(child.name)
        if self._stop_at:
            self._code = self._code or (EX_SOFTWARE if code > 0 else 0)
            return
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if code == EX_CONFIG or not child.has_been_ready:
            maillog.warned(f"{child.name} cannot start ({how}); the server ends")
            self._give_up(child, code if code > 0 else EX_SOFTWARE)
            return
        child.restarts += 1
        maillog.warned(f"{child.name} ended with {how}; it is started again")

    def _give_up(self, child: Child, code: int) -> None:
        self._code = self._code or code
        if not self._stop_at:
            self.stop(f"{child.name} cannot start")

    def _ping(self, child: Child) -> None:
        child.ask(time.monotonic(), "ping", {}, lambda ok, _why: self._on_pong(child, ok is not None))

    def _on_pong(self, child: Child, is_well: bool) -> None:
        if not is_well:
            return
        if child.name in self._deaf:
            self._deaf.discard(child.name)
            maillog.noted(f"{child.name} answers again")
        child.is_ready = child.has_been_ready = True
        if not self._is_ready and all(each.is_ready for each in self.children):
            self._is_ready = True
            self._notifier.say("READY=1", f"MAINPID={os.getpid()}")
            self._ready()

    # --- time ---------------------------------------------------------------------------------

    def _wait_s(self) -> float:
        if any(child.has_outgoing for child in self.children):
            return 0.01
        now = time.monotonic()
        starts = [child.start_at - now for child in self.children if not child.pid and not self._stop_at]
        return max(TURN_S, min([self._pinged_at + PING_S - now, *starts]))

    def _tend(self, now: float) -> None:
        for child in self.children:
            if child.has_outgoing:
                child.write()
            if not child.pid and not self._stop_at and child.start_at <= now:
                self._start(child)
        if now - self._pinged_at >= PING_S:
            self._pinged_at = now
            self._look_after(now)
        if self._stop_at and now >= self._stop_at:
            self._stop_at = now + STOP_S
            for child in self.children:
                child.kill(signal.SIGKILL)

    def _look_after(self, now: float) -> None:
        """Ask who answered the last time, watch who did not, and tell systemd."""
        self._reap()  # should a SIGCHLD have been missed
        log_file.heal()
        self._listen_again()
        for child in self.children:
            if child.pid and child.is_gone():  # taken away, and we were not told
                self._on_end(child, EX_SOFTWARE)
        for child in self.children:
            since = child.waits_since()
            if since is None:
                if child.pid and not self._stop_at:
                    self._ping(child)
            elif child.has_been_ready and child.is_ready and not self._stop_at:
                self._watch(child, now - since)
        for asker, (_, since) in list(self._askers.items()):
            if now - since > ASKER_S:
                self._end_asker(asker)
        if self._notifier.watchdog_s and now - self._watchdog_at >= min(self._notifier.watchdog_s, PING_S):
            self._watchdog_at = now
            if not self._deaf:
                self._notifier.say("WATCHDOG=1")

    def _watch(self, child: Child, silent_s: float) -> None:
        if silent_s > DEAF_S and child.name not in self._deaf:
            self._deaf.add(child.name)
            maillog.warned(f"{child.name} has not answered for {silent_s:.0f} s")
        if silent_s > STUCK_S:
            maillog.warned(f"{child.name} hangs and is ended")
            child.kill(signal.SIGKILL)

    # --- the end ------------------------------------------------------------------------------

    def stop(self, why: str) -> None:
        """Take no more mail, let sessions end, end. Asked twice it does not wait."""
        now = time.monotonic()
        if self._stop_at:
            self._stop_at = now
            return
        self._stop_at = now + STOP_S
        maillog.noted(f"stopping: {why}")
        self._notifier.say("STOPPING=1")
        self._stopping()
        for child in self.children:
            child.ask(now, "stop", {}, lambda _ok, _why: None)

    def _is_over(self) -> bool:
        return bool(self._stop_at) and not any(child.pid for child in self.children)

    def _listen_again(self) -> None:
        """The socket is where commands look for it, also when somebody has removed the folder."""
        if is_there(self._run_folder, "supervisor", self._control):
            return
        with contextlib.suppress(OSError):  # perhaps a disk is not mounted: in a moment
            control = listen_anew(self._run_folder, "supervisor")
            self._selector.unregister(self._control)
            self._control.close()
            self._control = control
            self._selector.register(control, selectors.EVENT_READ, self._on_asker)

    # --- control questions ----------------------------------------------------------------------

    def _on_asker(self, _file: object, _events: int) -> None:
        try:
            asker, _ = self._control.accept()
        except BlockingIOError:
            return
        except OSError:
            time.sleep(TURN_S)  # no descriptor is free: who asks stays in the line, and so does the event
            return
        if len(self._askers) >= ASKERS_MAX:
            asker.close()
            return
        asker.setblocking(False)
        self._askers[asker] = (bytearray(), time.monotonic())
        self._selector.register(asker, selectors.EVENT_READ, self._on_question)

    def _on_question(self, asker: Any, _events: int) -> None:
        buffer, _ = self._askers[asker]
        try:
            octets = asker.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        buffer += octets
        if not octets or len(buffer) > LINE_MAX:
            self._end_asker(asker)
            return
        line, end, rest = buffer.partition(b"\n")
        if end:
            self._askers[asker] = (bytearray(rest), time.monotonic())
            self._answer(asker, bytes(line))

    def _answer(self, asker: socket.socket, line: bytes) -> None:
        def say(answer: dict[str, Any]) -> None:
            if asker in self._askers:
                with contextlib.suppress(OSError):  # small, and who does not read it loses it
                    asker.send(encode(answer))

        try:
            question = decode(line).get("ask")
        except ControlError as error:
            say({"error": error.words, "code": error.code})
            return
        if question == "status":
            say({"ok": {**self._status(), "children": [self._show(child) for child in self.children]}})
        elif question == "reload":
            self._reload(say)
        else:
            say({"error": f"no such question: {question!r}", "code": EX_SOFTWARE})

    @staticmethod
    def _show(child: Child) -> dict[str, Any]:
        state = "running" if child.is_ready else "starting" if child.pid else "waiting"
        return {"name": child.name, "pid": child.pid, "state": state, "restarts": child.restarts}

    def _end_asker(self, asker: socket.socket) -> None:
        del self._askers[asker]
        self._selector.unregister(asker)
        asker.close()
