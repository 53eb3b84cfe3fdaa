"""Links: all links of this machine, what is known of each, and what may go over them together. No I/O."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import Any, Final

from cmail.link.allowance import ALL, Allowance, allowance, capacity, capacity_words, left_of
from cmail.link.doubt import Doubt
from cmail.link.judging import LINE, NOBODY_KNOWS, Hand, State, Verdict, is_routed, judge, of_line, of_via
from cmail.link.known import Known
from cmail.link.said import SaidDown
from cmail.link.settings import LinkSettings, ViaSettings
from cmail.link.spending import Spending, Used, turn_of
from cmail.link.windows import today
from cmail.net.kernel import Kernel
from cmail.policy.orders import FREE, NO_LIMIT, NOTHING, Orders
from cmail.world import IPAddress

_ANY: Final = Verdict(State.DOWN, "")  # what the kernel showed when we were started: whatever it is
_WRONG_MAX: Final = 1000  # characters of what a probe found, from the file


class UnknownLinkError(Exception):
    """Neither a link nor a network device has that name; words for people."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the kernel shows. `way`: the device by which it goes to the upstream server, else to the world."""

    kernel: Kernel
    way: int | None = None
    upstream: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What may go now, over whatever there is."""

    is_down: bool
    link: str  # by which mail goes; "" when it is none, or nobody can say
    orders: Orders
    words: str
    spent: str = ""  # which budget is used, when nothing may go for that
    is_until_exchange: bool = False  # nothing may go, though the link is up, until another exchange begins


class OneLink:
    """One of them. `since_ms` is lived time, which nobody can set; other times are of the wall."""

    def __init__(self, via: ViaSettings | None) -> None:
        self.via = via
        self.name = LINE if via is None else via.name
        self.hand = Hand.NOTHING
        self.against: Verdict | None = None
        self.kernel = NOBODY_KNOWS
        self.doubt = Doubt()
        self.verdict = NOBODY_KNOWS
        self.since_ms = 0
        self.spending = Spending()

    @property
    def is_told_by_hand_alone(self) -> bool:
        """Whether it has no devices that the kernel could show."""
        return self.via is not None and not self.via.device

    def has(self, device: str) -> bool:
        """Whether a network device is one of its."""
        return self.via is not None and any(fnmatchcase(device, glob) for glob in self.via.device)

    def say(self, hand: Hand) -> None:
        """Somebody says so."""
        self.hand = hand
        self.against = self.kernel if hand is Hand.UP else None
        self.doubt.end()
        if hand is Hand.UP:
            self.doubt.begin()

    def show(self, kernel: Verdict) -> None:
        """The kernel shows this of it now."""
        before, self.kernel = self.kernel, kernel
        if self.hand is Hand.UP and self.against is _ANY:
            self.against = kernel
        if self.hand is Hand.UP and kernel != self.against and not self.is_told_by_hand_alone:
            self.hand, self.against = Hand.NOTHING, None  # it has something newer to say
        if kernel.is_down:
            self.doubt.end()
        elif before.is_down:
            self.doubt.begin()

    def judge(self, now_ms: int) -> bool:
        """Weigh all of it; True when its state is another than before."""
        verdict = judge(self.hand, self.kernel, self.against, self.doubt.verdict)
        is_other = verdict.state is not self.verdict.state
        if is_other:
            self.since_ms = now_ms
        self.verdict = verdict
        return is_other

    def allowance(self, small: int, now_s: float, zone: tzinfo | None, exchange: str = "") -> Allowance:
        """What its policy lets through now; `exchange`: which one is open."""
        if self.via is None:
            return ALL
        return allowance(self.via, small, self.used(now_s, zone, exchange), now_s, zone)

    def used(self, now_s: float, zone: tzinfo | None, exchange: str = "") -> Used:
        """What was used of it today, and in the window or exchange that is open."""
        return self.spending.of(today(now_s, zone), self._turn(now_s, zone, exchange))

    def left(self, now_s: float, zone: tzinfo | None, exchange: str = "") -> int:
        """Octets that may go before its budgets are used; NO_LIMIT for any number."""
        return NO_LIMIT if self.via is None else left_of(self.via, self.used(now_s, zone, exchange))

    def use(self, octets: int, now_s: float, zone: tzinfo | None, exchange: str = "") -> None:
        """So many octets went over it."""
        self.spending.add(octets, today(now_s, zone), self._turn(now_s, zone, exchange))

    def _turn(self, now_s: float, zone: tzinfo | None, exchange: str) -> str:
        return turn_of(self.via, exchange, now_s, zone) if self.via is not None else ""

    def record(self) -> dict[str, Any]:
        """What of it outlives us."""
        wrong = self.doubt.verdict.why if self.doubt.verdict is not None else ""
        return {"hand": self.hand.value, **self.spending.record(), "wrong": wrong}

    def resume(self, record: Mapping[str, Any]) -> None:
        """Go on from a record; what makes no sense in it is left out."""
        hand, wrong = record.get("hand"), record.get("wrong")
        if hand in (Hand.UP.value, Hand.DOWN.value):
            self.hand = Hand(hand)
            self.against = _ANY if self.hand is Hand.UP else None
        self.spending.resume(record)
        if isinstance(wrong, str) and wrong:
            self.doubt.resume(wrong[:_WRONG_MAX])


class Links:
    """Those of the settings, or one, `line`."""

    def __init__(self, settings: LinkSettings, zone: tzinfo | None = None) -> None:
        self._zone = zone
        self.all: list[OneLink] = []
        self.had_way = False  # the machine could go out once
        self.upstream: tuple[IPAddress, ...] = ()  # where the upstream server was found last
        self.upstream_name = ""  # by which name
        self.known = Known()
        self._said_down = SaidDown()
        self._by = ""  # the link by which the kernel goes
        self._stray = ""  # the device by which it goes, when that is of no link
        self._exchange_s = 0.0
        self.exchange: Callable[[float], str] = lambda now_s: ""  # which one is open then; "": none
        self.apply(settings)

    # What comes in.

    def apply(self, settings: LinkSettings, exchange_s: float = 0.0) -> None:
        """Other settings: a link that keeps its name keeps what is known of it."""
        self._settings, self._exchange_s = settings, exchange_s
        before = {link.name: link for link in self.all}
        self.all = [OneLink(via) for via in settings.via] or [OneLink(None)]
        for n, link in enumerate(self.all):
            if (known := before.get(link.name)) is not None:
                known.via = link.via
                self.all[n] = known

    def show(self, facts: Facts) -> None:
        """How the kernel sees it all now."""
        kernel = facts.kernel
        self._said_down.show(kernel)
        said = self._said_down.names
        for link in self.all:
            if link.via is None:
                link.show(of_line(kernel, facts.way, self.had_way, said))
                self.had_way = self.had_way or link.kernel.state is State.UP
            elif link.via.device:
                link.show(of_via(kernel, link.via.device, facts.upstream, said))
        device = kernel.device(facts.way) if facts.way is not None else None
        owners = [link.name for link in self.all if device is not None and link.has(device.name)]
        self._by = owners[0] if owners else LINE if self.all[0].via is None else ""
        is_stray = device is not None and not self._by and device.has_carrier and not device.is_loopback
        self._stray = device.name if device is not None and is_stray else ""

    def say(self, name: str, hand: Hand, kernel: Kernel | None = None) -> None:
        """A person or a hook: of one link, of a network device, of all (""). UnknownLinkError."""
        if not name:
            self._said_down.clear()
        chosen = [link for link in self.all if name in ("", link.name)]
        if not chosen:
            self._say_device(name, hand, kernel)
            chosen = [link for link in self.all if link.has(name) or link.via is None]
            chosen = chosen if hand is Hand.UP else []  # down: what the kernel shows decides
        for link in chosen:
            link.say(hand)

    def _say_device(self, name: str, hand: Hand, kernel: Kernel | None) -> None:
        indexes = {device.name: device.index for device in kernel.devices} if kernel is not None else {}
        is_known = (
            name in indexes or name in self._said_down.names or any(link.has(name) for link in self.all)
        )
        if not is_known:
            names = ", ".join(link.name for link in self.all)
            raise UnknownLinkError(
                f"there is no link and no network device named {name!r}; links are: {names}"
            )
        if hand is Hand.UP:
            self._said_down.up(name)
        else:
            self._said_down.down(name, indexes.get(name, 0))

    def hear(self, name: str, hand: Hand, facts: Facts) -> list[OneLink]:
        """A hook tells of a network device: a hint, which overrules neither people nor the kernel. The links
        that it is a device of, to be probed when it says up; none: mail has nothing to do with it."""
        found = [device for device in facts.kernel.devices if device.name == name]
        touched = [
            link
            for link in self.all
            if link.has(name)
            or (link.via is None and any(is_routed(facts.kernel, device, facts.way) for device in found))
        ]
        if hand is Hand.UP:
            self._said_down.hear_up(name)
            for link in touched:
                link.doubt.begin()
        elif found and touched:
            self._said_down.hear_down(found[0])
        return touched

    def find(self, name: str) -> OneLink:
        """One by its name, or by that of a device. UnknownLinkError."""
        for link in self.all:
            if link.name == name or link.has(name):
                return link
        names = ", ".join(link.name for link in self.all)
        raise UnknownLinkError(f"there is no link named {name!r}; links are: {names}")

    @property
    def carrier(self) -> OneLink | None:
        """The link by which mail goes, when somebody can say."""
        named = [link for link in self.all if link.name == self._by]
        return named[0] if named else self.all[0] if len(self.all) == 1 else None

    # What comes out.

    def judge(self, now_ms: int) -> list[OneLink]:
        """Weigh what is known; the links whose state is another than before."""
        return [link for link in self.all if link.judge(now_ms)]

    def outlook(self, now_s: float) -> Outlook:
        """What may go now. Mail goes where the kernel sends it: that link's policy holds. Where nobody
        can say which that is, the most generous of those that are not down."""
        known = [link for link in self.all if link.name == self._by]
        chosen = known or [link for link in self.all if not link.verdict.is_down]
        small, exchange = self._settings.small, self.exchange(now_s)
        allowed = [(link, link.allowance(small, now_s, self._zone, exchange)) for link in chosen]
        going = [(link, each) for link, each in allowed if not (link.verdict.is_down or each.is_nothing)]
        if not going:
            words = "; ".join(_why_not(link, each) for link, each in allowed) or self._all_down()
            return self._nothing_goes(allowed, words)
        link, most = max(going, key=lambda pair: (pair[1].size_max, pair[1].urgent_size_max))
        words = f"{link.name}: {most.words}" if most.words else ""
        return Outlook(False, link.name if len(going) == 1 else "", self._orders(going, words), words)

    def _nothing_goes(self, allowed: Sequence[tuple[OneLink, Allowance]], words: str) -> Outlook:
        """Down, or up and resting until the next exchange: else none could ever begin."""
        spent = [each for link, each in allowed if each.spent and not link.verdict.is_down]
        said = spent[0].spent if spent else ""
        rests = any(each.is_until_exchange for each in spent)
        return Outlook(not rests, "", self._orders([], words), words, said, rests)

    def _all_down(self) -> str:
        words = "; ".join(_why_not(link, ALL) for link in self.all)
        return f"{words}; the kernel goes by {self._stray}, of no [[link.via]]" if self._stray else words

    def _orders(self, going: Sequence[tuple[OneLink, Allowance]], words: str) -> Orders:
        size_ever = capacity([link.via for link in self.all if link.via is not None], self._exchange_s)
        rates = [link.via.rate if link.via is not None else 0 for link, _ in going]
        return replace(
            FREE,
            size_max=max((each.size_max for _, each in going), default=NOTHING),
            urgent_size_max=max((each.urgent_size_max for _, each in going), default=NOTHING),
            rate=0 if 0 in rates else max(rates, default=0),
            size_ever=size_ever,
            words=words,
            ever_words=self._ever_words() if size_ever < NO_LIMIT else "",
        )

    def _ever_words(self) -> str:
        """Why nothing larger can ever go."""
        vias = [link.via for link in self.all if link.via is not None]
        found = [f"{via.name} {capacity_words(via, self._exchange_s)}" for via in vias]
        return "; ".join(found)

    # Undoing.

    def saved(self) -> tuple[list[OneLink], SaidDown]:
        """All that people can change by a word, as it is now."""
        return copy.deepcopy(self.all), copy.deepcopy(self._said_down)

    def restore(self, saved: tuple[list[OneLink], SaidDown]) -> None:
        """As it was."""
        self.all, self._said_down = saved

    # What outlives us.

    def record(self) -> dict[str, Any]:
        """As it goes into the file."""
        return {
            "had_way": self.had_way,
            "upstream": [str(address) for address in self.upstream],
            "upstream_name": self.upstream_name,
            "known": self.known.record(),
            "devices_down": self._said_down.record(),
            "links": {link.name: link.record() for link in self.all},
        }

    def resume(self, record: Mapping[str, Any]) -> None:
        """Go on from it; a file of before there were several has the state of all alone."""
        self.had_way = record.get("had_way") is True
        self.upstream = _addresses(record.get("upstream"))
        self.upstream_name = str(record.get("upstream_name", ""))
        self.known.resume(record.get("known"))
        links = record.get("links")
        self._said_down.resume(record.get("devices_down"))
        for link in self.all:
            own = links.get(link.name) if isinstance(links, dict) else None
            if isinstance(own, dict):
                link.resume(own)
            elif not isinstance(links, dict) and record.get("is_down") is True:
                link.hand = Hand.DOWN


def _why_not(link: OneLink, allowed: Allowance) -> str:
    if link.via is None:
        return link.verdict.why
    if link.verdict.is_down:
        return f"{link.name} is down: {link.verdict.why}"
    return f"{link.name}: {allowed.words}"


def _addresses(texts: object) -> tuple[IPAddress, ...]:
    try:
        return tuple(ip_address(str(text)) for text in texts[:4]) if isinstance(texts, list) else ()
    except ValueError:
        return ()
