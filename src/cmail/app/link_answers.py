"""What the link process answers: up, down, status, exchange, plan, history; and what workers tell it."""

from collections.abc import Mapping
from typing import Any, Final

from cmail.app.exchanging import Exchanging
from cmail.app.link_watch import Watching
from cmail.app.link_workers import Workers
from cmail.app.settings import Settings
from cmail.link.allowance import is_used_up
from cmail.link.judging import Hand
from cmail.link.links import OneLink, UnknownLinkError
from cmail.link.lived import LivedClock
from cmail.link.state import Link
from cmail.link.waiting import add_waiting
from cmail.net.control import EX_TEMPFAIL, AnswerFunction, ControlError, Fields
from cmail.policy.orders import NO_LIMIT
from cmail.world import Clock

EX_USAGE: Final = 64
LISTED_MAX: Final = 20  # messages of a plan by name
_KBIT: Final = 125  # octets
_GONE: Final = ("messages_out", "octets_out", "messages_in", "octets_in", "cost")  # of an exchange so far


class LinkAnswers:
    """Composed of the parts of the link process."""

    def __init__(
        self,
        link: Link,
        watching: Watching,
        exchanging: Exchanging,
        workers: Workers,
        lived: LivedClock,
        clock: Clock,
    ) -> None:
        self._link, self._watching, self._exchanging = link, watching, exchanging
        self._workers, self._lived, self._clock = workers, lived, clock
        self.settings: Settings

    def functions(self) -> Mapping[str, AnswerFunction]:
        """By the names of the questions."""
        return {
            "link.up": self._up,
            "link.down": self._down,
            "link.probe": self._probe,
            "link.status": self.status,
            "link.exchange": self._exchange,
            "link.send": self._send,
            "link.plan": self._plan,
            "link.history": self._history,
            "link.confirm": self._confirm,
            "link.seen": self._seen,
            "link.wants": self._wants,
        }

    # By hand, or by a hook.

    async def _up(self, request: Fields) -> Fields:
        if request.get("by_hook") is True:
            return await self._hear(request, Hand.UP)
        was_down = self._link.reading.is_down
        answer = await self._say(request, Hand.UP)
        if not (was_down or answer["is_down"] or self._exchanging.exchanges.is_planned):
            self._exchanging.run_hooks()  # up before: somebody has dialled perhaps
        self._watching.probe_doubtful()
        return answer

    async def _down(self, request: Fields) -> Fields:
        if request.get("by_hook") is True:
            return await self._hear(request, Hand.DOWN)
        return await self._say(request, Hand.DOWN)

    async def _hear(self, request: Fields, hand: Hand) -> Fields:
        """What a hook says of a network device. Where the kernel does not tell, it counts as by hand."""
        facts = self._watching.facts()
        name = str(request.get("name") or "")
        is_by_hand_alone = any(
            link.name == name and link.is_told_by_hand_alone for link in self._link.links.all
        )
        if facts is None or is_by_hand_alone:
            return await self._say(request, hand)
        heard = await self._link.hear(name, hand, facts)
        if hand is Hand.UP:
            for link in heard.touched:
                self._watching.probe_now(link)
        if heard.is_again and not self._exchanging.exchanges.is_planned:
            self._exchanging.run_hooks()
        return {**self._reading(), "touched": heard.touched}

    async def _probe(self, request: Fields) -> Fields:
        """Look now, without waiting for what comes of it."""
        name = self._chosen(request)[0].name if request.get("name") else ""
        return {**self._reading(), "probed": self._watching.probe_now(name)}

    async def _say(self, request: Fields, hand: Hand) -> Fields:
        name = str(request.get("name") or "")
        try:
            await self._link.say(name, hand, self._watching.facts())
        except UnknownLinkError as error:
            raise ControlError(str(error), EX_USAGE) from None
        except OSError as error:
            raise ControlError(f"the state of the link cannot be written: {error}", EX_TEMPFAIL) from None
        await self._workers.heard()
        return self._reading()

    # How it is.

    def _reading(self) -> Fields:
        outlook = self._link.outlook
        return {**self._link.reading.fields(), "link": outlook.link, "words": outlook.words}

    async def status(self, request: Fields) -> Fields:
        """All links, or the one that is named. With `is_heard` when the workers obey what is told here."""
        chosen = self._chosen(request)
        if request.get("is_heard") is True:
            await self._workers.heard()
        reading = self._reading()
        reading["changed_wall_ms"] = self._wall_ms(reading["changed_wall_ms"])
        reading["link_ms"] = self._link.reading.link_ms(self._lived.wall_ms())
        reading["orders"] = self._link.orders.fields()
        reading["exchange"] = self._exchange_now()
        return {**reading, "links": [self._row(link) for link in chosen]}

    def _wall_ms(self, lived_ms: int) -> int:
        """As people know it; 0 stays 0."""
        return lived_ms + self._lived.ahead_ms() if lived_ms else 0

    def _chosen(self, request: Fields) -> list[OneLink]:
        name = str(request.get("name") or "")
        try:
            return [self._link.links.find(name)] if name else self._link.links.all
        except UnknownLinkError as error:
            raise ControlError(str(error), EX_USAGE) from None

    def _row(self, link: OneLink) -> Fields:
        now_s = self._clock.wall_ms() / 1000
        exchange = self._exchanging.exchanges.turn(now_s)
        row: Fields = {
            "name": link.name,
            "state": link.verdict.state.value,
            "why": link.verdict.why,
            "since_ms": self._wall_ms(link.since_ms),
            "hand": link.hand.value,
            "is_used": link is self._link.links.carrier and not self._link.reading.is_down,
        }
        if link.via is None:
            return row
        via = link.via
        allowed = link.allowance(self.settings.link.small, now_s, None, exchange)
        used = link.used(now_s, None, exchange)
        return {
            **row,
            "devices": list(via.device),
            "use": via.use,
            "rate": via.rate,
            "cost": via.cost,
            "largest": via.largest,
            "budget": via.budget,
            "used_today": used.today,
            "window_budget": via.window_budget,
            "used_in_window": used.in_turn,
            "counted_by": "window" if via.window else "exchange",
            "window": list(via.window),
            "policy": allowed.words or ("all mail" if not allowed.is_nothing else ""),
            "rests": allowed.is_nothing,
            "is_used_up": is_used_up(via.budget, used.today),
            "is_window_used_up": is_used_up(via.window_budget, used.in_turn),
        }

    # Exchanges.

    def _exchange_now(self) -> Fields:
        exchanges, entry = self._exchanging.exchanges, self._exchanging.entry
        current = exchanges.current
        following = exchanges.next(self._clock.wall_ms() / 1000)
        return {
            "is_planned": exchanges.is_planned,
            "is_always": exchanges.is_always,
            "is_open": self._exchanging.is_open,
            "why": current.why if current is not None else "",
            "begin_ms": entry.begin_ms if entry is not None else 0,
            "until_ms": int((current.until_s or 0) * 1000) if current is not None else 0,
            "is_working": self._exchanging.is_working,
            "latest_ms": self._latest_ms(),
            "next_ms": int(following.begin_s * 1000) if following is not None else 0,
            "next_why": following.why if following is not None else "",
            "rules": exchanges.rules(),
            **({name: getattr(entry, name) for name in _GONE} if entry is not None else {}),
        }

    def _latest_ms(self) -> int:
        """When the exchange that goes on ends, whatever it waits for; 0: nothing ends it so."""
        exchanges = self._exchanging.exchanges
        current = exchanges.current
        if current is None or exchanges.is_always:
            return 0
        longest_s = self.settings.exchange.longest.total_seconds()
        return int((current.until_s or current.begin_s + longest_s) * 1000)

    async def _exchange(self, request: Fields) -> Fields:
        """One now."""
        self._chosen(request)
        if self._is_kept:
            raise ControlError(f"there can be no exchange now: {self._link.outlook.words}", EX_TEMPFAIL)
        is_new = await self._exchanging.begin_by_hand()
        await self._workers.heard()
        return {"is_new": is_new, **self._exchange_now()}

    async def _send(self, _request: Fields) -> Fields:
        """What waits is to go now: an exchange begins, unless one goes on already."""
        if self._is_kept:
            raise ControlError(self._link.outlook.words, EX_TEMPFAIL)
        await self._exchanging.send_now()
        return self._exchange_now()

    @property
    def _is_kept(self) -> bool:
        """Whether an exchange that began now could carry nothing: off line, or the budget is used."""
        is_planned = self._exchanging.exchanges.is_planned
        return self._link.reading.is_down or (is_planned and self._link.outlook.is_until_exchange)

    def _left(self, now_s: float) -> int | None:
        """Octets that may go by the link that mail goes by until it rests; None: no limit."""
        link = self._link.links.carrier
        if link is None:
            return None
        left = link.left(now_s, None, self._exchanging.exchanges.turn(now_s))
        return left if left < NO_LIMIT else None

    async def _plan(self, request: Fields) -> Fields:
        """When the next one is, what will go in it, in which order, and how long that takes."""
        self._chosen(request)
        answers = await self._workers.ask("queue.internet", limit=LISTED_MAX)
        waiting = add_waiting(answers.values())
        listed = [row for answer in answers.values() for row in _rows(answer.get("listed"))]
        listed.sort(key=lambda row: (row.get("rank", 0), row.get("arrived_ms", 0)))
        now_s, rate = self._clock.wall_ms() / 1000, self._link.orders.rate
        exchange = self._exchange_now()
        next_ms, left = exchange["next_ms"], self._left(now_s)
        going = waiting.admitted_octets if left is None else min(left, waiting.admitted_octets)
        return {
            **exchange,
            "is_down": self._link.reading.is_down,
            "link": self._link.outlook.link,
            "words": self._link.outlook.words,
            "next_s": max(0, round(next_ms / 1000 - now_s)) if next_ms else None,
            "waiting": waiting.fields(),
            "rate": rate,
            "takes_s": round(going / (rate * _KBIT)) if rate else None,
            "left": left,
            "listed": [_timed(row, rate) for row in listed[:LISTED_MAX]],
        }

    async def _history(self, request: Fields) -> Fields:
        """The last exchanges, the newest first; of one link when it is named."""
        entries = await self._exchanging.entries()
        if request.get("name"):
            name = self._chosen(request)[0].name
            entries = [entry for entry in entries if entry["link"] == name]
        return {"exchanges": entries}

    # What workers tell.

    async def _confirm(self, request: Fields) -> Fields:
        """A worker was told that a domain does not exist: is it the Internet that says so?"""
        return {"says": await self._watching.confirm(str(request.get("domain") or ""))}

    async def _seen(self, request: Fields) -> Fields:
        names, hosts = (request.get(name) for name in ("names", "hosts"))
        is_noted = True
        if isinstance(names, list) and isinstance(hosts, list):
            is_noted = self._watching.reached(names, hosts)
        if self._watching.seen(is_ok=request.get("is_ok") is True, kind=str(request.get("kind", ""))):
            await self._watching.look()
        return {"is_noted": is_noted}

    async def _wants(self, request: Fields) -> Fields:
        """Mail came at a worker that does not wait for the next look."""
        if add_waiting([request]).urgent:
            self._exchanging.urgent_came()
        return {}


def _rows(value: Any) -> list[Fields]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _timed(row: Fields, rate: int) -> Fields:
    """With how long it takes by itself."""
    return {**row, "takes_s": round(int(row.get("size", 0)) / (rate * _KBIT), 1) if rate else None}
