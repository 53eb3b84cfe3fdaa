"""Exchanges: when what waits for the Internet goes, and when that is over. Decides; does nothing itself."""

from dataclasses import dataclass, replace
from datetime import timedelta, tzinfo
from typing import Final

from cmail.link.allowance import when_words
from cmail.link.settings import ExchangeSettings
from cmail.link.waiting import Waiting
from cmail.link.windows import last_begin, next_begin, open_until, parse_slots
from cmail.link.windows import longest_s as longest_window_s

WORTH_A_WORD_S: Final = 5.0
IDLE_S: Final = 30.0  # what is left then waits for something else: a back-off, a host that is down

AT_START, AT_LINK_UP = "the server was started", "the link came up"


@dataclass(frozen=True, slots=True)
class Now:
    """What the decisions hang on. Times are seconds since 1970, of the wall."""

    now_s: float
    is_down: bool = False
    waiting: Waiting | None = None  # None: nobody has told yet
    octets_out: int = 0  # so far, to see whether anything moves
    is_working: bool = False  # a kick or a collection is under way
    spent: str = ""  # which budget of the link is used, when nothing may go for that


@dataclass(slots=True)
class Exchange:
    """One that goes on."""

    begin_s: float
    why: str
    until_s: float | None = None  # of a window; else it ends by itself
    asked: Waiting | None = None  # what was looked at last
    octets_out: int = 0
    moved_s: float = 0.0  # when something moved last
    gone_s: float = 0.0  # since when nothing was left that may go
    since_s: float = 0.0  # as begin_s, unless the clock was set back since


@dataclass(frozen=True, slots=True)
class Next:
    """When the next one begins, as far as time decides, and why."""

    begin_s: float
    why: str


class Exchanges:
    """The plan of [exchange]. Without one, and without queue.batch, an exchange goes on all the time that
    the link is up."""

    def __init__(
        self, settings: ExchangeSettings, *, is_batch: bool, now_s: float, zone: tzinfo | None = None
    ) -> None:
        self._zone = zone
        self.current: Exchange | None = None
        self._last_begin_s: float | None = None
        self._every_from_s: float | None = None  # as that, unless the clock was set back since
        self._left = Waiting()  # of the last one
        self._was_down = False
        self._has_lost = False  # the one that goes on: its link went down, and is back perhaps
        self._is_first = True
        self.apply(settings, is_batch=is_batch, now_s=now_s)

    def apply(self, settings: ExchangeSettings, *, is_batch: bool, now_s: float) -> None:
        """Other settings; what goes on goes on by them."""
        self._settings, self._is_batch = settings, is_batch
        self._slots = parse_slots(settings.at)
        self._windows = tuple(slot for slot in self._slots if slot.is_window)
        self._last_s = now_s  # when the last one ended; times before it are over

    def resume(self, begin_ms: int, end_ms: int) -> None:
        """The last one of the history."""
        self._last_begin_s, self._last_s = begin_ms / 1000, max(begin_ms, end_ms) / 1000
        self._every_from_s = self._last_begin_s

    @property
    def is_planned(self) -> bool:
        """Whether mail waits for exchanges that a plan begins."""
        return self._settings.is_set

    @property
    def is_always(self) -> bool:
        """Whether one goes on all the time that the link is up."""
        return not (self.is_planned or self._is_batch)

    @property
    def is_open(self) -> bool:
        """What orders say: False only where exchanges are planned and none goes on. queue.batch alone is
        the workers' own affair."""
        return not self.is_planned or self.current is not None

    def turn(self, now_s: float) -> str:
        """Which exchange it is that octets count for; "": none. All of one window are one, so that neither
        a restart nor a link-up in it begins the count anew. With queue.batch alone one lasts until the next:
        what it has let go may still be on its way."""
        if self.is_always:
            return ""
        if self.is_planned and (until_s := open_until(self._windows, now_s, self._zone)) is not None:
            return f"until {round(until_s)}"
        if self.current is not None:
            return f"{round(self.current.begin_s * 1000)}"
        return "" if self.is_planned else f"{round((self._last_begin_s or 0) * 1000)}"

    def went_down(self) -> None:
        """The link is down. It may be up again before anybody looks; a link-up it is all the same."""
        self._was_down = True
        self._has_lost = self.current is not None

    def _see_clock(self, now_s: float) -> None:
        """What is later than now was now: somebody has set the clock back, by a month perhaps, and mail would
        wait until that time comes again."""
        self._last_s = min(self._last_s, now_s)
        if self._every_from_s is not None:
            self._every_from_s = min(self._every_from_s, now_s)
        if (current := self.current) is not None:
            current.since_s = min(current.since_s, now_s)
            current.moved_s, current.gone_s = min(current.moved_s, now_s), min(current.gone_s, now_s)

    # Beginning.

    def why_begin(self, now: Now) -> str:
        """Why one is to begin now; "" when none is."""
        self._see_clock(now.now_s)
        was_down, self._was_down = self._was_down, now.is_down
        is_first, self._is_first = self._is_first, False
        if now.is_down or now.spent or self.current is not None:
            return ""
        if self.is_always:
            return AT_LINK_UP if was_down else AT_START if is_first else ""
        if not self.is_planned:
            return ""
        return self._by_time(now, was_down) or self._by_waiting(now)

    def _by_time(self, now: Now, is_link_up: bool) -> str:
        settings = self._settings
        if open_until(self._windows, now.now_s, self._zone) is not None:
            return "its window is open"
        at_s = last_begin(self._slots, now.now_s, self._zone)
        if at_s is not None and at_s > self._last_s:
            return f"its time has come: {when_words(at_s, now.now_s, self._zone)}"
        if settings.every and (due_s := self._every_s()) <= now.now_s:
            late = now.now_s - due_s > 60 and is_link_up
            return AT_LINK_UP if late else f"it is time again (every {_words(settings.every)})"
        if is_link_up and not settings.every and not self._slots:
            return AT_LINK_UP
        return ""

    def _every_s(self) -> float:
        """When it is time again by `every`."""
        if self._every_from_s is None:
            return 0.0
        return self._every_from_s + self._settings.every.total_seconds()

    def _by_waiting(self, now: Now) -> str:
        waiting, settings = now.waiting, self._settings
        if waiting is None:
            return ""
        left = self._left = Waiting(
            messages=min(self._left.messages, waiting.messages), urgent=min(self._left.urgent, waiting.urgent)
        )
        if settings.urgent and waiting.urgent > left.urgent:
            return "urgent mail waits"
        if settings.messages and waiting.messages - left.messages >= settings.messages:
            return f"{waiting.messages} messages wait"
        oldest_s = settings.oldest.total_seconds()
        # Far ahead of now it came before the clock was set back.
        if oldest_s and waiting.oldest_ms and abs(now.now_s - waiting.oldest_ms / 1000) >= oldest_s:
            if not left.messages or now.now_s - self._last_s >= oldest_s:
                return f"the oldest message has waited {_words(settings.oldest)}"
        return ""

    def urgent_came(self) -> bool:
        """An urgent message has come since the last look; True when that may begin one. What the last one
        left does not hide it."""
        if self.current is not None or not (self.is_planned and self._settings.urgent):
            return False
        self._left = replace(self._left, urgent=0)
        return True

    def begin(self, why: str, now: Now) -> Exchange:
        """It begins."""
        until_s = open_until(self._windows, now.now_s, self._zone) if self.is_planned else None
        self.current = Exchange(now.now_s, why, until_s, now.waiting, now.octets_out, now.now_s)
        self.current.since_s = self._last_begin_s = self._every_from_s = now.now_s
        return self.current

    # Ending.

    def why_end(self, now: Now) -> str:
        """Why the one that goes on is over; "" when it is not."""
        current = self.current
        if current is None:
            return ""
        self._see_clock(now.now_s)
        if now.spent:
            return now.spent
        if now.is_down or self._has_lost:
            return "the link went down"
        if self.is_always:
            return ""
        if current.until_s is not None:
            current.until_s = open_until(self._windows, now.now_s, self._zone)
            return "" if current.until_s is not None else "its window is over"
        if now.now_s - current.since_s >= self._settings.longest.total_seconds():
            return f"it may last no longer than {_words(self._settings.longest)}"
        return self._is_done(current, now)

    def _is_done(self, current: Exchange, now: Now) -> str:
        """Whether nothing is left that may go. `waiting` is not looked at before it was asked anew."""
        waiting = now.waiting
        if waiting is None or waiting is current.asked:
            return ""
        is_same = current.asked is not None and waiting.messages == current.asked.messages
        if now.octets_out != current.octets_out or not is_same or now.is_working:
            current.octets_out, current.moved_s = now.octets_out, now.now_s
        current.asked = waiting
        current.gone_s = 0.0 if waiting.admitted_messages else current.gone_s or now.now_s
        if now.is_working:
            return ""
        if not waiting.admitted_messages:
            return "all that may go has gone" + _waited_words(now.now_s - current.gone_s)
        if now.now_s - current.moved_s >= IDLE_S:
            return f"nothing moves any more; {waiting.admitted_messages} wait for something else"
        return ""

    def end(self, now: Now) -> None:
        """It is over."""
        self.current = None
        self._has_lost = False
        self._last_s = now.now_s
        self._left = now.waiting or Waiting()

    # The plan.

    def next(self, now_s: float) -> Next | None:
        """The next by time; None when none is planned by time."""
        found = []
        begin_s = next_begin(self._slots, now_s, self._zone)
        if begin_s is not None:
            found.append(Next(begin_s, "its window begins" if self._is_window(begin_s) else "its time comes"))
        if self._settings.every:
            found.append(Next(max(now_s, self._every_s()), f"every {_words(self._settings.every)}"))
        return min(found, key=lambda each: each.begin_s, default=None)

    def _is_window(self, begin_s: float) -> bool:
        return open_until(self._windows, begin_s, self._zone) is not None

    def rules(self) -> list[str]:
        """What else begins one, in words."""
        settings, found = self._settings, []
        if settings.messages:
            found.append(f"as soon as {settings.messages} messages wait")
        if settings.oldest:
            found.append(f"as soon as the oldest has waited {_words(settings.oldest)}")
        if self.is_planned and settings.urgent:
            found.append("at once for urgent mail")
        return found


def _waited_words(waited_s: float) -> str:
    """What it stayed open for."""
    if waited_s < WORTH_A_WORD_S:
        return ""
    return f"; then it waited {_words(timedelta(seconds=waited_s))} for the answer to a kick, or collected"


def longest_s(settings: ExchangeSettings) -> float:
    """How long an exchange may last at most, for what could never go in one; 0 when nothing limits it."""
    if not settings.is_set:
        return 0.0
    slots = parse_slots(settings.at)
    is_by_itself = any(not slot.is_window for slot in slots) or settings.every or settings.messages
    longest = settings.longest.total_seconds() if is_by_itself or settings.oldest else 0.0
    return max(longest_window_s(slots), longest)


def _words(time: timedelta) -> str:
    """30 minutes, 1 hour."""
    seconds = round(time.total_seconds())
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count} {name}{'s' * (count != 1)}"
    return f"{seconds} seconds"
