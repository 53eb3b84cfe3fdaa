"""Reload: SIGHUP and `reload`. Settings are validated once, handed to all, and 'applied' is said when
all have acknowledged; whatever is wrong leaves the running ones as they are."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cmail.app.child import Child
from cmail.app.estate import Estate
from cmail.app.ports import Port, PortError, bind
from cmail.app.settings import Settings
from cmail.app.snapshot import Snapshot, Source
from cmail.app.systemd import Notifier
from cmail.observe import log_file, maillog
from cmail.settings import SettingError

Answer = Callable[[dict[str, Any]], None]
EX_CONFIG: Final = 78

# What is fixed while the server runs.
_FIXED: Final[tuple[tuple[str, Callable[[Settings], object]], ...]] = (
    ("host.data_dir", lambda settings: settings.host.data_dir),
    ("host.user", lambda settings: settings.host.user),
    ("host.workers", lambda settings: settings.host.workers),
    ("admin.address", lambda settings: settings.admin.address),
    ("limits.free_space", lambda settings: settings.limits.free_space),
    ("log.file", lambda settings: settings.log.file),
    ("log.format", lambda settings: settings.log.format),
)


@dataclass(slots=True)
class _Round:
    """One snapshot on its way to the processes."""

    snapshot: Snapshot
    waiting: set[str]
    faults: list[str]
    answer: Answer
    removed: list[Port]


class Reload:
    """Reads the settings anew and hands them on. One round at a time; a later one waits."""

    def __init__(self, estate: Estate, source: Source, notifier: Notifier) -> None:
        self._estate, self._source, self._notifier = estate, source, notifier
        self.children: Sequence[Child] = ()
        self._number = estate.snapshot.number
        self._round: _Round | None = None
        self._next: list[Answer] = []

    def __call__(self, answer: Answer) -> None:
        """SIGHUP, or a control question; `answer` gets the last word."""
        if self._round is not None:
            self._next.append(answer)
            return
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notifier.say("RELOADING=1", f"MONOTONIC_USEC={now_us}")
        self._reopen_logs()
        try:
            snapshot = self._source.read(self._number + 1, self._files_held())
            snapshot = self._with_fixed(snapshot)
            added, removed = self._change_ports(snapshot.settings)
        except SettingError as error:
            self._refuse(error.lines(), answer)
        except PortError as error:
            self._refuse([str(error)], answer)
        else:
            self._hand_on(snapshot, added, removed, answer)

    def _reopen_logs(self) -> None:
        """Perhaps the log was rotated: whatever becomes of the settings, everybody goes on in the new."""
        log_file.reopen()
        for child in self.children:
            child.ask(time.monotonic(), "log.reopen", {}, lambda _ok, _why: None)

    def _files_held(self) -> tuple[str, ...]:
        """What the server has read with rights that it may have dropped since."""
        tls = self._estate.settings.tls
        return (tls.certificate_file, tls.key_file)

    def _with_fixed(self, snapshot: Snapshot) -> Snapshot:
        """What cannot change while the server runs stays, and that is said."""
        old, new = self._estate.settings, snapshot.settings
        for key, value in _FIXED:
            if value(old) != value(new):
                maillog.warned(f"{key} has changed: that takes effect when the server is started again")
        host = replace(new.host, data_dir=old.host.data_dir, user=old.host.user, workers=old.host.workers)
        log = replace(new.log, format=old.log.format, file=old.log.file)
        settings = replace(new, host=host, admin=old.admin, log=log)
        return replace(snapshot, settings=settings)

    def _change_ports(self, settings: Settings) -> tuple[list[Port], list[Port]]:
        """Bind what is new; nothing is closed yet."""
        estate = self._estate
        wanted = {(listener.kind, listener.address) for listener in settings.listener}
        there = {port.key for port in estate.ports}
        added: list[Port] = []
        try:
            for listener in settings.listener:
                if (listener.kind, listener.address) not in there:
                    added.append(bind(listener.kind, listener.address, estate.workers_count))
        except PortError:
            for port in added:
                port.close()
            raise
        return added, [port for port in estate.ports if port.key not in wanted]

    def _hand_on(self, snapshot: Snapshot, added: list[Port], removed: list[Port], answer: Answer) -> None:
        estate = self._estate
        self._number = snapshot.number
        estate.snapshot = snapshot  # who is started from now on has it
        estate.ports = [port for port in estate.ports if port not in removed] + added
        running = [child for child in self.children if child.pid]
        self._round = _Round(snapshot, {child.name for child in running}, [], answer, removed)
        for number, child in enumerate(self.children):
            if child.pid:
                self._ask(child, number, snapshot, added)

    def _ask(self, child: Child, number: int, snapshot: Snapshot, added: list[Port]) -> None:
        is_worker = child.name.startswith("worker-")
        new = added if is_worker else []
        arguments = {
            "number": snapshot.number,
            "path": snapshot.path,
            "text": snapshot.text,
            "smtp_password": snapshot.smtp_password,
            "passwords": dict(snapshot.passwords),
            "ports": [list(port.key) for port in self._estate.ports],
            "new": [list(port.key) for port in new],
        }
        fds = tuple(port.of_worker(number).fileno() for port in new)
        child.ask(
            time.monotonic(),
            "settings.apply",
            arguments,
            lambda ok, why: self._acknowledged(child, ok is not None, why),
            fds,
        )

    def _acknowledged(self, child: Child, is_applied: bool, why: str) -> None:
        current = self._round
        if current is None or child.name not in current.waiting:
            return
        current.waiting.discard(child.name)
        if not is_applied and child.pid:  # one that has ended is started again with these settings
            current.faults.append(f"{child.name}: {why}")
        if not current.waiting:
            self._finish(current)

    def _finish(self, current: _Round) -> None:
        for port in current.removed:
            port.close()
        self._round = None
        number = current.snapshot.number
        if current.faults:
            lines = "; ".join(current.faults)
            maillog.warned(f"settings {number} are not applied everywhere: {lines}")
            current.answer({"error": f"not applied everywhere: {lines}", "code": EX_CONFIG})
        else:
            maillog.noted(f"settings {number} applied")
            current.answer({"ok": {"number": number}})
        self._notifier.say("READY=1")
        if self._next:
            self(self._next.pop(0))

    def _refuse(self, lines: list[str], answer: Answer) -> None:
        for line in lines:
            maillog.warned(f"settings not applied: {line}")
        maillog.noted(f"settings {self._estate.snapshot.number} go on")
        answer({"error": "the settings cannot be used:\n" + "\n".join(lines), "code": EX_CONFIG})
        self._notifier.say("READY=1")
