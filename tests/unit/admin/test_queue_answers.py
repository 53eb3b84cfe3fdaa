"""A worker's answers about its queue: whole filters in every shard, one order, the right clocks."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from cmail.admin.queue import QueueAnswers, RouteTrouble
from cmail.admin.rows import sort_key
from cmail.mail.address import parse_address
from cmail.mail.content import Content, from_plain
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.outcome import NotNow
from cmail.mail.queue_id import parse_queue_id, print_queue_id
from cmail.net.control import ControlError
from cmail.policy.orders import FREE, Orders
from cmail.policy.routing import is_internet
from cmail.storage.spool import Change, Changed, NewMessage, QueuedMessage, Spool
from tests.support.clock import FakeClock
from tests.support.memory_spool import MemorySpool


@dataclass
class FakeLink:
    """A link that stood still for an hour."""

    clock: FakeClock
    is_down: bool = False
    periods: int = 1
    down_for_ms: int = 0

    def link_ms(self) -> int:
        return self.clock.wall_ms() - 3_600_000


@dataclass
class FakeDesk:
    """A shard that notes what it is told."""

    spool: Spool
    link: FakeLink
    told: list[tuple[Change, int]] = field(default_factory=list)
    rests: dict[str, RouteTrouble] = field(default_factory=dict)
    bounced: list[tuple[str, tuple[int, ...], str]] = field(default_factory=list)
    sent: dict[tuple[int, int], float] = field(default_factory=dict)

    def change_times(self) -> dict[str, int]:
        return {"": self.link.link_ms(), "local": self.link.clock.wall_ms()}

    def changed(self, change: Change, changed: Changed) -> None:
        self.told.append((change, changed.recipients_count))

    def trouble(self, route: str) -> RouteTrouble | None:
        return self.rests.get(route)

    def under_way(self) -> dict[tuple[int, int], float]:
        return self.sent

    async def let_go(self, queue_ids: Sequence[int] | None) -> tuple[int, int]:
        return 0, 0

    async def bounce(self, message: QueuedMessage, positions: Sequence[int], reason: str) -> int:
        self.bounced.append((print_queue_id(message.queue_id), tuple(positions), reason))
        return len(positions)


class House:
    """Two shards and the answers over them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.link = FakeLink(self.clock)
        self.desks = [FakeDesk(MemorySpool(shard, self.clock), self.link) for shard in (0, 1)]
        self.answers = QueueAnswers(lambda: self.desks, self.clock, self.link, is_internet, is_logged=False)

    async def put(
        self, shard: int, *to: str, content: Content | None = None, due_ms: int = 0, hold_until_ms: int = 0
    ) -> str:
        spool = self.desks[shard].spool
        recipients = tuple(Recipient(parse_address(t.encode())) for t in to)
        routes = tuple("local" if t.endswith("@example.org") else "relay" for t in to)
        message = NewMessage(
            spool.new_queue_id(),
            Envelope(parse_address(b"anna@example.org"), recipients, hold_until_ms=hold_until_ms),
            content or from_plain(b"Subject: x\n\n.body\n"),
            routes,
            self.clock.wall_ms(),
            self.link.link_ms(),
            due_ms,
        )
        await spool.accept(message)
        return print_queue_id(message.queue_id)

    async def rows(self, **request: Any) -> list[dict[str, Any]]:
        return [row async for row in await self.answers.list({"filter": {}, **request})]


def run(test: Callable[[House], Awaitable[None]]) -> None:
    """The test in a loop of its own."""

    async def whole() -> None:
        await test(House())

    asyncio.run(whole())


def test_list_is_one_order_over_shards() -> None:
    """Oldest first whatever shard it is in, and pages go on where the last ended."""

    async def test(house: House) -> None:
        ids = []
        for number in range(6):
            ids.append(await house.put(number % 2, f"u{number}@example.net"))
            house.clock.advance(1)
        assert [row["id"] for row in await house.rows()] == ids
        first = await house.rows(limit=4)
        after = list(sort_key(first[-1]))
        assert [row["id"] for row in first + await house.rows(limit=4, after=after)] == ids

    run(test)


def test_due_times_are_on_the_wall_clock() -> None:
    """A route of the link has its own clock; people see the wall clock, or nothing while it stands."""

    async def test(house: House) -> None:
        wall = house.clock.wall_ms()
        await house.put(0, "a@example.net", due_ms=house.link.link_ms() + 60_000)
        assert (await house.rows())[0]["next_ms"] == wall + 60_000
        house.link.is_down = True
        assert (await house.rows())[0]["next_ms"] == 0

    run(test)


def test_what_the_orders_keep_says_so() -> None:
    """No next time is shown, and why; what needs no link is not concerned."""

    async def test(house: House) -> None:
        orders = FREE
        house.answers = replace(house.answers, orders=lambda: orders)
        await house.put(0, "a@example.net", "b@example.org", due_ms=house.link.link_ms())
        assert [row["kept"] for row in await house.rows()] == ["", ""]
        orders = Orders(size_max=5)
        away, here = await house.rows()
        assert "larger than what may go over the links that are up (5 octets)" in away["kept"]
        assert away["next_ms"] == 0 and here["next_ms"] and not here["kept"]
        orders = Orders(is_exchange_open=False)
        assert (await house.rows())[0]["kept"] == "It waits for the next exchange."

    run(test)


def test_what_its_sender_holds_goes_at_its_time_whatever_else_there_is() -> None:
    """RFC 4865: before that neither the link nor a host is what it waits for; from then on they are."""

    async def test(house: House) -> None:
        house.link.is_down = True
        kept = Orders(is_exchange_open=False)
        house.answers = replace(house.answers, orders=lambda: kept)
        house.desks[0].rests["relay"] = RouteTrouble("refused", NotNow.HOST, 60_000)
        until_ms = house.clock.wall_ms() + 60_000
        await house.put(0, "bob@example.net", hold_until_ms=until_ms)
        (row,) = await house.rows()
        assert row["reason"].startswith("its sender wants it sent on ")
        assert (row["next_ms"], row["hold_until_ms"], row["kept"]) == (until_ms, until_ms, "")
        house.clock.advance(60)
        (row,) = await house.rows()
        assert (row["reason"], row["kept"]) == ("refused", "It waits for the next exchange.")

    run(test)


def test_what_is_being_sent_says_so() -> None:
    """Not that it waits: a large message goes for hours over a thin link. Others of the message wait still."""

    async def test(house: House) -> None:
        queue_id = await house.put(1, "a@example.net", "b@example.net")
        house.desks[1].sent[(parse_queue_id(queue_id), 1)] = 4000.25
        assert [row["sent_for_ms"] for row in await house.rows()] == [None, 4_000_250]

    run(test)


def test_a_next_hop_that_rests_is_the_reason() -> None:
    """What was not tried because others failed there says why, and when it is its turn."""

    async def test(house: House) -> None:
        await house.put(0, "a@example.net", "b@example.org")
        house.desks[0].rests["relay"] = RouteTrouble("refused", NotNow.HOST, 60_000)
        away, here = await house.rows()
        assert (away["reason"], away["kind"]) == ("refused", NotNow.HOST)
        assert away["next_ms"] == house.clock.wall_ms() + 60_000
        assert here["reason"] == ""

    run(test)


def test_changes_act_on_the_whole_filter() -> None:
    """Every shard, every recipient that fits, and no other; the schedulers are told."""

    async def test(house: House) -> None:
        for shard in (0, 1):
            await house.put(shard, "a@example.net", "b@example.com")
        what = {"domain": "example.net"}
        assert await house.answers.change({"change": "hold", "filter": what}) == {"recipients": 2}
        assert [row["state"] for row in await house.rows()] == ["held", "queued"] * 2
        assert [desk.told for desk in house.desks] == [[(Change.HOLD, 1)]] * 2
        assert await house.answers.change({"change": "release", "filter": {}}) == {"recipients": 2}
        assert await house.answers.change({"change": "delete", "filter": {}}) == {"recipients": 4}
        assert await house.rows() == []

    run(test)


def test_questions_without_sense_change_nothing() -> None:
    """No filter, a wrong one, an unknown change: 64, and everything is there still."""

    async def test(house: House) -> None:
        await house.put(0, "a@example.net")
        for request in (
            {"change": "delete"},
            {"change": "delete", "filter": {"form": "x"}},
            {"change": "eat", "filter": {}},
            {"change": "delete", "filter": {"states": ["delivered"]}},
        ):
            with pytest.raises(ControlError) as refused:
                await house.answers.change(request)
            assert refused.value.code == 64
        assert len(await house.rows()) == 1

    run(test)


def test_single_recipients_are_meant() -> None:
    """One of a message to two; how many a filter means; an empty list is a mistake, not everything."""

    async def test(house: House) -> None:
        first = await house.put(0, "a@example.net", "b@example.com")
        await house.put(1, "a@example.net")
        what = {"recipients": [[first, 1]]}
        assert await house.answers.count({"filter": what}) == {"recipients": 1}
        assert await house.answers.count({"filter": {}}) == {"recipients": 3}
        assert await house.answers.change({"change": "hold", "filter": what}) == {"recipients": 1}
        held = [row["to"] for row in await house.rows() if row["state"] == "held"]
        assert held == ["b@example.com"]
        for wrong in ([], [first], [[first]], [[first, -1]], [["?", 0]], "x"):
            with pytest.raises(ControlError) as refused:
                await house.answers.change({"change": "delete", "filter": {"recipients": wrong}})
            assert refused.value.code == 64

    run(test)


def test_bounce_goes_message_by_message() -> None:
    """Each message with the positions that the filter means, in every shard."""

    async def test(house: House) -> None:
        first = await house.put(0, "a@example.net", "b@example.com", "c@example.net")
        second = await house.put(1, "a@example.net")
        request = {"filter": {"domain": "example.net"}, "reason_given": "because"}
        assert await house.answers.bounce(request) == {"recipients": 3}
        assert house.desks[0].bounced == [(first, (0, 2), "because")]
        assert house.desks[1].bounced == [(second, (0,), "because")]

    run(test)


def test_show(tmp_path: Path) -> None:
    """Header alone or all of it, unstuffed, also when the content is in a file."""
    wire = b"Subject: long\r\nX: y\r\n\r\n" + b"..dot\r\n" * 50_000
    path = tmp_path / "content"
    path.write_bytes(wire)
    in_file = Content(b"Received: x\r\n", b"", len(wire), str(path), len(wire))

    async def test(house: House) -> None:
        short = await house.put(1, "a@example.net")
        assert await shown(house, short) == b"Subject: x\r\n"
        assert await shown(house, short, content=True) == b"Subject: x\r\n\r\n.body\r\n"
        large = await house.put(0, "a@example.net", content=in_file)
        assert await shown(house, large) == b"Received: x\r\nSubject: long\r\nX: y\r\n"
        assert (await shown(house, large, content=True)).endswith(b"\r\n" + b".dot\r\n" * 2)
        assert await shown(house, large, content=True, octets=20) == b"Received: x\r\nSubject"[:20]
        assert await shown(house, large, octets=14) == b"Received: x\r\nS"
        with pytest.raises(ControlError) as refused:
            await shown(house, "0000000000000")
        assert refused.value.code == 67

    run(test)


async def shown(house: House, queue_id: str, **request: Any) -> bytes:
    """The content that is shown."""
    parts = [part async for part in await house.answers.show({"id": queue_id, **request})]
    assert parts[0]["envelope"]["id"] == queue_id and parts[1]["recipient"]["to"]
    return b"".join(base64.b64decode(part["content"]) for part in parts if "content" in part)


def test_figures() -> None:
    """Counts of all shards."""

    async def test(house: House) -> None:
        await house.put(0, "a@example.net", "b@example.net")
        await house.put(1, "c@example.net")
        figures = await house.answers.figures({})
        assert figures["messages"] == 2
        assert figures["recipients"]["queued"] == 3

    run(test)
