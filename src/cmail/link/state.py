"""Link: the one owner of the state of all links; weighs what it hears, tells all, keeps it durably."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from cmail.link.clock import LinkReading, parse_reading
from cmail.link.judging import LINE, Hand
from cmail.link.links import Facts, Links, OneLink, Outlook
from cmail.link.saving import Saving
from cmail.policy.orders import FREE, Orders, parse_orders
from cmail.storage import durable
from cmail.world import Clock

FILE_OCTETS_MAX: Final = 65536  # ours has some hundred, and 200 more for each link

# A hook that says up tells what the kernel has told a moment ago: nobody has dialled again.
SETTLED_MS: Final = 15_000

Announce = Callable[[LinkReading, Orders, bool], Awaitable[None]]


class LinkLog(Protocol):
    """What of observe.maillog is called here."""

    def noted(self, text: str) -> None: ...
    def warned(self, text: str) -> None: ...
    def failed(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Heard:
    """What a hook's word meant: for which links; and that the one by which mail goes was up for long already,
    so that what waits begins once more."""

    touched: list[str]
    is_again: bool


class Link:
    """Lives in the link process. What people say is durable before it is told to anybody, so a crash while
    down is still down. What the kernel or a probe says is told first: it can be seen again."""

    def __init__(
        self,
        path: str,
        lived: Clock,
        clock: Clock,
        log: LinkLog,
        links: Links,
        announce: Announce,
    ) -> None:
        """`path`: DATA/link.json. `lived`: the clock of readings; `clock`: that of people. `announce` tells
        the workers; its last argument: the link is up, said once more."""
        self._path, self._lived, self._clock, self._log = path, lived, clock, log
        self.links = links
        self._announce = announce
        self._reading = LinkReading()
        self._orders = FREE
        self._outlook = Outlook(False, "", FREE, "")
        self._changing = asyncio.Lock()
        self._filing = asyncio.Lock()  # one writes the file at a time, and the last one the latest
        self._saving = Saving("link.json", self._write)
        self.is_exchange_open = True
        self.is_batch_open = False
        self.turned: list[Callable[[bool], None]] = []  # called with whether it is down, at each turn
        self.moving: Callable[[], Awaitable[None]] | None = None  # awaited when mail goes by another link
        self._carrier: OneLink | None = None

    @property
    def reading(self) -> LinkReading:
        """How it is, all in all."""
        return self._reading

    @property
    def orders(self) -> Orders:
        """What the workers were told that may go."""
        return self._orders

    @property
    def outlook(self) -> Outlook:
        """By which link mail goes, and the words for it."""
        return self._outlook

    def open(self) -> LinkReading:
        """Read what was left by the last run; blocks (at start, before any loop). A file that makes no
        sense is reported, and the link begins anew as up: mail moves."""
        record = read_record(self._path, self._log)
        self._reading, self._orders = _reading(record), _orders(record)
        self.links.resume(record)
        return self._reading

    async def look(self, facts: Facts | None = None) -> None:
        """Weigh anew what is known (and what the kernel shows now); whoever needs to know is told."""
        async with self._changing:
            if facts is not None:
                self.links.show(facts)
            weighed = self._weigh()
            if await self._conclude(weighed) or weighed.changed:
                self._saving.soon()

    async def say(self, name: str, hand: Hand, facts: Facts | None = None) -> None:
        """A person or a hook says up or down, of one link or of all. Said up again it is told again: they
        have dialled perhaps, and nobody told us that it was down. UnknownLinkError; OSError: that cannot be
        recorded, and all is as it was."""
        async with self._changing:
            before = self.links.saved()
            if facts is not None:
                self.links.show(facts)
            self.links.say(name, hand, facts.kernel if facts is not None else None)
            if facts is not None:
                self.links.show(facts)  # a device that was said to be down shows otherwise now
            weighed = self._weigh()
            record = {**self.links.record(), "orders": weighed.orders.fields()}
            is_turn = weighed.reading is not self._reading
            async with self._filing:
                try:
                    await asyncio.to_thread(write_state, self._path, weighed.reading, record)
                except OSError:
                    self.links.restore(before)
                    raise
                await self._conclude(weighed)
            if hand is Hand.UP and not (is_turn or weighed.reading.is_down):
                await self._announce(self._reading, self._orders, True)

    async def hear(self, device: str, hand: Hand, facts: Facts) -> Heard:
        """A hook tells of a network device: weighed as what the kernel shows is, at once."""
        async with self._changing:
            self.links.show(facts)
            touched = self.links.hear(device, hand, facts)
            self.links.show(facts)
            weighed = self._weigh()
            is_turn = weighed.reading is not self._reading
            if await self._conclude(weighed) or weighed.changed:
                self._saving.soon()
            is_again = (
                not (is_turn or self._reading.is_down) and hand is Hand.UP and self._is_settled(touched)
            )
            if is_again:
                await self._announce(self._reading, self._orders, True)
            return Heard([link.name for link in touched], is_again)

    async def tell(self) -> None:
        """How it is, though nothing turned: something else that is told with it has changed."""
        async with self._changing:
            await self._announce(self._reading, self._orders, False)

    async def say_again(self) -> None:
        """What was not there though the link was up is there again: waits end at once."""
        async with self._changing:
            if not self._reading.is_down:
                await self._announce(self._reading, self._orders, True)

    def _is_settled(self, touched: Sequence[OneLink]) -> bool:
        """Whether the link by which mail goes is one of these, and was up for long already."""
        carrier, now_ms = self.links.carrier, self._lived.wall_ms()
        return carrier is not None and carrier in touched and now_ms - carrier.since_ms > SETTLED_MS

    async def close(self) -> None:
        """Write what is not written yet."""
        await self._saving.close()

    # Telling.

    def _weigh(self) -> "_Weighed":
        changed = self.links.judge(self._lived.wall_ms())
        outlook = self.links.outlook(self._clock.wall_ms() / 1000)
        orders = replace(
            outlook.orders, is_exchange_open=self.is_exchange_open, is_batch_open=self.is_batch_open
        )
        return _Weighed(changed, outlook, self._next_reading(outlook.is_down), orders)

    async def _conclude(self, weighed: "_Weighed") -> bool:
        """Tell who needs to know; True when anybody was told."""
        self._outlook = outlook = weighed.outlook
        before, self._carrier = self._carrier, self.links.carrier
        if before is not None and before is not self._carrier and self.moving is not None:
            await self.moving()
        is_turn = weighed.reading is not self._reading
        if len(self.links.all) > 1:
            for link in weighed.changed:
                self._log.noted(f"link {link.name} is {link.verdict.state.value}: {link.verdict.why}")
        if not is_turn and weighed.orders == self._orders:
            return False
        self._reading, self._orders = weighed.reading, weighed.orders
        if is_turn:
            self._log.noted(_turn_words(outlook))
        await self._announce(self._reading, self._orders, False)
        if is_turn:
            for listener in self.turned:
                listener(self._reading.is_down)
        return True

    def _next_reading(self, is_down: bool) -> LinkReading:
        now_ms = self._lived.wall_ms()
        return self._reading.down(now_ms) if is_down else self._reading.up(now_ms)

    # The file.

    def _record(self) -> dict[str, Any]:
        return {**self.links.record(), "orders": self._orders.fields()}

    async def _write(self) -> None:
        """Beside, so that a slow disk does not hold up the next word."""
        async with self._filing:
            reading, record = self._reading, self._record()
            try:
                await asyncio.to_thread(write_state, self._path, reading, record)
            except OSError as error:
                self._log.warned(f"{self._path} cannot be written: {error.strerror or error}")

    def note(self) -> None:
        """Something to be kept has changed that nobody needs to be told of: what was used of a budget."""
        self._saving.soon()


@dataclass(frozen=True, slots=True)
class _Weighed:
    """What comes of all that is known."""

    changed: list[OneLink]
    outlook: Outlook
    reading: LinkReading
    orders: Orders


def _turn_words(outlook: Outlook) -> str:
    if outlook.is_down:
        return f"the link is down: {outlook.words}"
    return "the link is up" + (f": mail goes by {outlook.link}" if outlook.link not in ("", LINE) else "")


def write_state(path: str, reading: LinkReading, record: dict[str, Any] | None = None) -> None:
    """Make a reading durable, with what else is known; blocks."""
    fields = {**(record or {}), **reading.fields()}
    durable.write_durably(path, json.dumps(fields).encode() + b"\n")


def read_record(path: str, log: LinkLog) -> dict[str, Any]:
    """What was made durable last, {} for nothing; blocks. It has a reading that makes sense."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(FILE_OCTETS_MAX))
        if not isinstance(found, dict):
            raise ValueError("not a reading of the link clock")
        parse_reading(found)
        return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        log.warned(f"{path}: {error}; the link counts as up from now on")
        return {}


def read_state(path: str, log: LinkLog) -> tuple[LinkReading, Orders]:
    """The reading and the orders that were made durable last; blocks."""
    record = read_record(path, log)
    return _reading(record), _orders(record)


def _reading(record: dict[str, Any]) -> LinkReading:
    return parse_reading(record) if record else LinkReading()


def _orders(record: dict[str, Any]) -> Orders:
    try:
        return parse_orders(record["orders"])
    except (KeyError, ValueError, AttributeError):
        return FREE
