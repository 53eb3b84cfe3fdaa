"""What needs attention besides processes and disks: finders for admin.overview, each with what to do."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from cmail.admin.overview import Attention, Overview, Overviews
from cmail.admin.rows import duration
from cmail.admin.words import Row, Whose, of_reason
from cmail.policy.routing import LMTP, RELAY
from cmail.web.desk import Desk, DraftError
from cmail.web.filters import plural

LONG_MS: Final = 4 * 3_600_000  # so long a message may wait before somebody should look
OFF_LINE_LONG_MS: Final = 24 * 3_600_000
RESTART_SHOWN_S: Final = 3600.0
_HOPS: Final = {RELAY: "the upstream server", LMTP: "the LMTP server"}
_CERTIFICATES: Final = ("certificate expired", "certificate mismatch", "certificate unknown issuer")
_SAID_ELSEWHERE: Final = ("off line", "no upstream server", "stopped", "our disk")


_MEND: Final = (
    "The server goes on with the settings of before. Mend the file: cmail config check says where; then cmail"
    " config reload."
)


def unusable(error: DraftError) -> str:
    """Of a settings file that is not even TOML, as a sentence."""
    return f"The settings file cannot be read: {'; '.join(each.reason for each in error.problems)}."


class Watch:
    """All finders of this module as one."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._restarts: dict[str, tuple[int, float]] = {}  # process -> how often, and when that was seen

    async def __call__(self, overview: Overview) -> Sequence[Attention]:
        """See admin.overview.Finder."""
        try:
            way_out, drafts = self._of_the_way_out(overview), self._of_drafts()
        except DraftError as error:  # somebody is editing the file, perhaps
            way_out, drafts = [Attention(unusable(error), _MEND)], []
        found = [*self._of_parts(overview), *way_out]
        return [*found, *_of_next_hops(overview), *_of_waiting(overview), *drafts]

    def _of_parts(self, overview: Overview) -> list[Attention]:
        """Processes that are down, or were started again."""
        found = []
        if overview.link is None:
            found.append(_part("link"))
        now = time.monotonic()
        for child in overview.status.get("children", ()):
            name, count = str(child["name"]), int(child["restarts"])
            before, seen_at = self._restarts.get(name, (0, now))
            if count != before:
                seen_at = now
            self._restarts[name] = (count, seen_at)
            if child["state"] != "running" and name not in overview.silent:
                found.append(_part(name))
            elif count and now - seen_at < RESTART_SHOWN_S:
                times = plural(count, "time", "times")
                words = f"The process {name} has ended by itself and was started again ({times} so far)."
                found.append(Attention(words, "Nothing is lost. The log says why it ended.", "/log"))
        return found

    def _of_the_way_out(self, overview: Overview) -> list[Attention]:
        """No upstream server named while mail waits."""
        settings = self._desk.settings()
        if settings["smtp.delivery"].saved != "smarthost" or settings["smtp.host"].saved:
            return []
        waits = "Mail waits, and no" if _queued(overview) else "No"
        words = f"{waits} upstream server is named: mail for the Internet cannot leave."
        advice = "Name it (SMTP Host), or choose MX resolution, and save."
        return [Attention(words, advice, "/smtp")]

    def _of_drafts(self) -> list[Attention]:
        """Settings that somebody began to change."""
        count = len(self._desk.changes())
        if not count:
            return []
        changes = plural(count, "change of the settings is", "changes of the settings are")
        return [Attention(f"{changes} not saved.", "The server goes on with those of before.", "/save")]


def watch(overviews: Overviews, desk: Desk) -> None:
    """Have it looked for, once."""
    if not any(isinstance(find, Watch) for find in overviews.finders):
        finder: Callable[[Overview], Awaitable[Sequence[Attention]]] = Watch(desk)
        overviews.finders.append(finder)


def _part(name: str) -> Attention:
    return Attention(
        f"The process {name} is not running.", "It is started again by itself; the log says why.", "/log"
    )


def _of_next_hops(overview: Overview) -> list[Attention]:
    """What is ours to see to, and whatever is wrong at the server that all mail goes through."""
    found = {}
    for route in overview.routes:
        name, reason = str(route.get("route", "")), str(route.get("reason", ""))
        row = of_reason(reason) if reason else None
        if row is None or row.name in _SAID_ELSEWHERE or (overview.is_online is False and name == RELAY):
            continue
        if name in _HOPS or row.whose is Whose.OURS or row.name in _CERTIFICATES:
            found[name, row.name] = _of_hop(name, row)
    return list(found.values())


def _of_hop(name: str, row: Row) -> Attention:
    where = f"through {_HOPS[name]}" if name in _HOPS else f"to {name.partition(':')[2]}"
    words = f"Mail does not go {where}: {row.sentence[:1].lower()}{row.sentence[1:]}"
    return Attention(words, row.advice, row.path or "/queue")


def _of_waiting(overview: Overview) -> list[Attention]:
    """Mail that waits for long."""
    if not overview.queue or not _queued(overview):
        return []
    if overview.is_online is False:
        return _of_silence(overview, overview.link or {})
    age_ms = overview.asked_wall_ms - int(overview.queue["oldest_ms"])
    if not overview.queue["oldest_ms"] or age_ms < LONG_MS:
        return []
    words = f"The oldest message in the queue has waited for {duration(age_ms)}."
    return [Attention(words, "See why; it can be sent now, returned or deleted there.", "/queue?older=4h")]


def _of_silence(overview: Overview, link: Mapping[str, Any]) -> list[Attention]:
    since_ms = int(link.get("changed_wall_ms", 0))
    age_ms = overview.asked_wall_ms - since_ms
    if not since_ms or age_ms < OFF_LINE_LONG_MS:
        return []
    words = f"We have been off line for {duration(age_ms)}, and mail waits."
    return [Attention(words, "Is the line really down? On line starts everything.", "/#line-title")]


def _queued(overview: Overview) -> int:
    return int(overview.queue["recipients"].get("queued", 0)) if overview.queue else 0
