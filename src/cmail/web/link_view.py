"""What the pages show of the link: answers of the link process as rows and words; what is missing is none."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cmail.admin.link_words import left_words, order_words
from cmail.link.allowance import when_words
from cmail.link.judging import LINE
from cmail.web.filters import short

Fields = Mapping[str, Any]

LISTED_MAX: Final = 20
_LIGHTS: Final = {"up": ("on", "up"), "down": ("off", "down")}
# State of a step of the kick plan: words, class of the mark.
_STEPS: Final = {
    "": ("not tried yet", "is-unknown"),
    "sent": ("was told", "is-look"),
    "nothing": ("nothing waits there", "is-good"),
    "not now": ("not reached", "is-look"),
    "refused": ("refused", "is-wrong"),
    "answered": ("mail came", "is-good"),
    "unanswered": ("no mail came", "is-wrong"),
    "stopped": ("stopped", "is-unknown"),
}
_METHODS: Final = {
    "finger": "finger: says our domain",
    "connect": "connect: opens a connection",
    "string": "string: says a text",
    "etrn": "ETRN: mail comes to our port 25",
    "atrn": "ATRN: mail comes over the same connection",
    "command": "runs a program",
}
_ENDINGS: Final = {
    "answered": "Mail came.",
    "nothing waits": "No mail waits for us there.",
    "unanswered": "The plan came to its end, and no mail has come.",
    "stopped": "It was stopped: the line went down, or it was begun again.",
}


@dataclass(frozen=True, slots=True)
class Link:
    """One way to the Internet."""

    name: str
    light: str
    state: str
    why: str
    since_ms: int
    is_down: bool
    is_by_hand: bool
    is_carrying: bool
    is_named: bool  # in the settings, with a policy
    devices: str = ""
    policy: str = ""
    rests: bool = False
    rate: str = ""
    cost: float = 0.0
    budget: int = 0
    used_today: int = 0
    window_budget: int = 0
    used_in_window: int = 0
    counted_by: str = "window"  # or exchange
    window: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The one that goes on, or the next."""

    is_known: bool
    is_planned: bool = False
    is_always: bool = True
    is_open: bool = False
    why: str = ""
    begin_ms: int = 0
    until: str = ""  # of a window
    latest: str = ""  # whatever it waits for
    is_working: bool = False  # a kick waits for its answer, or mail is collected
    gone: Fields = field(default_factory=dict)
    next_ms: int = 0
    next_why: str = ""
    rules: Sequence[str] = ()

    @property
    def is_batch(self) -> bool:
        """Mail waits until somebody sends it (queue.batch)."""
        return self.is_known and not (self.is_planned or self.is_always)

    @property
    def is_timed(self) -> bool:
        """Whether it is known when the next begins."""
        return self.is_planned and self.next_ms > 0

    @property
    def left_s(self) -> int:
        """Until the next."""
        return max(0, round(self.next_ms / 1000 - time.time()))

    @property
    def left(self) -> str:
        """The same in words."""
        return left_words(self.left_s) if self.left_s else "now"

    @property
    def when(self) -> str:
        """at 14:00, tomorrow at 08:00."""
        return when_words(self.next_ms / 1000, time.time()) if self.next_ms else ""


@dataclass(frozen=True, slots=True)
class Step:
    """One of the kick plan."""

    method: str
    where: str
    text: str
    words: str
    mark: str
    said: str
    then: str
    attempt: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Kick:
    """The plan of kicks."""

    steps: Sequence[Step] = ()
    is_under_way: bool = False
    ending: str = ""
    ended_ms: int = 0


def links_of(status: Fields | None) -> list[Link]:
    """All of link.status."""
    return [_link(row) for row in (status or {}).get("links") or ()]


def _link(row: Fields) -> Link:
    state = str(row.get("state", ""))
    light, words = _LIGHTS.get(state, ("unknown", "not known"))
    name = str(row.get("name", ""))
    return Link(
        name=name,
        light=light,
        state=words,
        why=short(str(row.get("why", ""))),
        since_ms=int(row.get("since_ms") or 0),
        is_down=state == "down",
        is_by_hand=bool(row.get("hand")),
        is_carrying=bool(row.get("is_used")),
        is_named="use" in row and name != LINE,
        devices=", ".join(row.get("devices") or ()),
        policy=str(row.get("policy") or ""),
        rests=bool(row.get("rests")),
        rate=rate_words(int(row.get("rate") or 0)),
        cost=float(row.get("cost") or 0),
        budget=int(row.get("budget") or 0),
        used_today=int(row.get("used_today") or 0),
        window_budget=int(row.get("window_budget") or 0),
        used_in_window=int(row.get("used_in_window") or 0),
        counted_by="exchange" if row.get("counted_by") == "exchange" else "window",
        window=", ".join(row.get("window") or ()),
    )


def exchange_of(status: Fields | None) -> Exchange:
    """Of link.status, or of link.plan."""
    found = (status or {}).get("exchange") or {}
    if not found:
        return Exchange(False)
    until_ms, latest_ms = int(found.get("until_ms") or 0), int(found.get("latest_ms") or 0)
    return Exchange(
        is_known=True,
        is_planned=bool(found.get("is_planned")),
        is_always=bool(found.get("is_always")),
        is_open=bool(found.get("is_open")),
        why=str(found.get("why") or ""),
        begin_ms=int(found.get("begin_ms") or 0),
        until=when_words(until_ms / 1000, time.time()) if until_ms else "",
        latest=when_words(latest_ms / 1000, time.time()) if latest_ms else "",
        is_working=bool(found.get("is_working")),
        gone=found if "messages_out" in found else {},
        next_ms=int(found.get("next_ms") or 0),
        next_why=str(found.get("next_why") or ""),
        rules=list(found.get("rules") or ()),
    )


def kick_of(status: Fields | None) -> Kick:
    """The plan of kicks, with what each step was answered last."""
    found = (status or {}).get("kick") or {}
    return Kick(
        [_step(row) for row in found.get("steps") or ()],
        bool((status or {}).get("is_kicking")),
        _ENDINGS.get(str(found.get("ending", "")), ""),
        int(found.get("ended_ms") or 0),
    )


def _step(row: Fields) -> Step:
    words, mark = _STEPS.get(str(row.get("state", "")), ("not known", "is-unknown"))
    host, port = str(row.get("host") or ""), int(row.get("port") or 0)
    return Step(
        method=_METHODS.get(str(row.get("method")), str(row.get("method"))),
        where=f"{host}, port {port}" if host and port else host,
        text=short(str(row.get("text") or ""), 100),
        words=words,
        mark=mark,
        said=short(str(row.get("said") or "")),
        then=short(str(row.get("then") or "")),
        attempt=int(row.get("attempt") or 0),
        at_ms=int(row.get("at_ms") or 0),
    )


@dataclass(frozen=True, slots=True)
class Message:
    """One of those that go in the next exchange."""

    id: str
    sender: str
    to: str
    size: int
    order: str
    takes: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes in the next exchange."""

    messages: int
    octets: int
    urgent: int
    admitted: int
    admitted_octets: int
    rate: str
    takes: str
    listed: Sequence[Message]
    left: int | None = None  # octets, until the budgets of the link are used

    @property
    def is_cut_short(self) -> bool:
        """Whether the link rests before all of it has gone."""
        return self.left is not None and self.left < self.admitted_octets

    @property
    def kept(self) -> int:
        """Messages that the links that are up may not carry."""
        return max(0, self.messages - self.admitted)

    @property
    def further(self) -> int:
        """Messages that go too and are not listed."""
        return max(0, self.admitted - len(self.listed))


def plan_of(told: Fields) -> Plan:
    """Of link.plan."""
    waiting = told.get("waiting") or {}
    rate = int(told.get("rate") or 0)
    return Plan(
        messages=int(waiting.get("messages") or 0),
        octets=int(waiting.get("octets") or 0),
        urgent=int(waiting.get("urgent") or 0),
        admitted=int(waiting.get("admitted_messages") or 0),
        admitted_octets=int(waiting.get("admitted_octets") or 0),
        rate=rate_words(rate),
        takes=takes_words(told.get("takes_s")) if rate else "",
        listed=[_message(row) for row in (told.get("listed") or ())[:LISTED_MAX]],
        left=told.get("left"),
    )


def _message(row: Fields) -> Message:
    to = [str(each) for each in row.get("to") or ()]
    return Message(
        id=str(row.get("id", "")),
        sender=str(row.get("from", "")),
        to=", ".join(to[:2]) + (" and others" if len(to) > 2 else ""),
        size=int(row.get("size") or 0),
        order=order_words(row),
        takes=takes_words(row.get("takes_s")),
    )


def takes_words(seconds: float | None) -> str:
    """Under 1 s, 12 min 30 s; "" when nobody knows."""
    if seconds is None:
        return ""
    return left_words(seconds) if seconds >= 1 else "under 1 s"


def rate_words(rate: int) -> str:
    """256 kbit/s, 2 Mbit/s; "" when nobody said."""
    if not rate:
        return ""
    return f"{rate / 1000:g} Mbit/s" if rate >= 1000 else f"{rate} kbit/s"
