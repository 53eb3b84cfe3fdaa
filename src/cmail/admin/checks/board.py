"""CheckBoard: runs checks in the background, a few at once and not for long, and keeps what they found."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cmail.admin.checks.finding import Finding, NotKnownError, State
from cmail.admin.checks.inquiry import Inquiry, Reach, Subject
from cmail.admin.checks.rows import Check, checks_of
from cmail.net.settings import DnsSettings
from cmail.observe import maillog

CHECK_S: Final = 10.0
AT_ONCE: Final = 5
AUTOMATIC_MAX: Final = (
    100  # rows that are begun without being asked for: who has 500 domains presses the button
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found, and when."""

    finding: Finding
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Row:
    """A check as it stands."""

    check: Check
    result: Result | None  # None: not checked yet
    is_running: bool

    @property
    def state(self) -> State | None:
        """None: not checked yet."""
        return self.result.finding.state if self.result else None


class CheckBoard:
    """One for a process. Results are lost with it: they are as old as it is."""

    def __init__(self, subject: Callable[[], Subject], reach: Reach) -> None:
        self._subject, self._reach = subject, reach
        self._results: dict[str, Result] = {}
        self._begun_at: dict[str, float] = {}  # also of those whose end is not there yet
        self._running: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._dns: DnsSettings | None = None
        self._checks_of: tuple[tuple[object, ...], list[Check]] = ((), [])

    def rows(self) -> list[Row]:
        """All of them. What was found for a domain that is ours no more is forgotten."""
        checks = self._checks()
        names = {check.name for check in checks}
        for gone in self._results.keys() - names:
            del self._results[gone]
            self._begun_at.pop(gone, None)
        return [Row(check, self._results.get(check.name), check.name in self._running) for check in checks]

    def finding(self, name: str) -> Finding | None:
        """What is known of a check now."""
        result = self._results.get(name)
        return result.finding if result else None

    def start(self, names: Iterable[str]) -> int:
        """Check these anew, in the background; how many there are. One that runs already goes on."""
        wanted = set(names)
        self._follow_settings()
        self._reach.dns.forget()
        return self._begin([check for check in self._checks() if check.name in wanted])

    def refresh(self, older_than_s: float, kinds: Sequence[str] = ()) -> None:
        """Begin those that were not begun for so long (of these kinds; none: all that bother nobody)."""
        self._follow_settings()
        now = time.monotonic()
        due = [
            check
            for check in self._checks()
            if (check.kind in kinds if kinds else not check.is_on_demand)
            and now - self._begun_at.get(check.name, float("-inf")) > older_than_s
        ]
        self._begin(due[:AUTOMATIC_MAX])

    async def run(self, names: Iterable[str]) -> list[Row]:
        """Check these, and wait for their end."""
        wanted = set(names)
        self.start(wanted)
        await asyncio.gather(*(task for name, task in self._running.items() if name in wanted))
        return [row for row in self.rows() if row.check.name in wanted]

    async def close(self) -> None:
        """Nobody waits for them any more."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _checks(self) -> list[Check]:
        """Made once for as long as the domains are the same: Home asks each second."""
        subject = self._subject()
        key = (tuple(subject.domains), subject.is_mx, subject.smtp.host)
        if self._checks_of[0] != key:
            self._checks_of = (key, checks_of(subject))
        return self._checks_of[1]

    def _follow_settings(self) -> None:
        """Other name servers, from now on."""
        dns = self._subject().dns
        if self._dns not in (None, dns):
            self._reach.dns.update(dns)
        self._dns = dns

    def _begin(self, checks: Sequence[Check]) -> int:
        for check in checks:
            if check.name not in self._running:
                self._begun_at[check.name] = time.monotonic()
                task = asyncio.create_task(self._run(check), name=f"check {check.name}")
                self._running[check.name] = task
                task.add_done_callback(lambda _, name=check.name: self._running.pop(name, None))  # type: ignore[misc]
        return len(checks)

    async def _run(self, check: Check) -> None:
        async with self._turn:
            finding = await self._find(check)
        self._results[check.name] = Result(finding, int(self._reach.wall_s() * 1000))

    async def _find(self, check: Check) -> Finding:
        try:
            async with asyncio.timeout(CHECK_S):
                inquiry = Inquiry(self._subject(), self._reach, await self._reach.is_down())
                return await check.run(inquiry)
        except NotKnownError as end:
            return end.finding
        except TimeoutError:
            return Finding(
                State.UNKNOWN, f"There was no answer within {CHECK_S:.0f} s.", advice="Check again."
            )
        except Exception:  # a mistake of ours in one row leaves the others
            maillog.failed(f"check {check.name}")
            return Finding(State.UNKNOWN, "The check itself has failed; the log has the details.")
