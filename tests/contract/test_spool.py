"""The contract of Spool, on every implementation."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cmail.mail.address import parse_address
from cmail.mail.envelope import Envelope, Notify, Recipient
from cmail.mail.outcome import NotNow
from cmail.mail.queue_id import QueueId
from cmail.policy.order import ORDINARY, rank_of
from cmail.storage.spool import (
    FIRST,
    Change,
    Deferral,
    Final,
    NewMessage,
    NextDue,
    QueuedRecipient,
    QueueFilter,
    RecipientState,
    RouteWaits,
    Settlement,
    Wanted,
    place_of,
)
from tests.support.spools import SpoolPlace, on_every_spool

DELIVERED, FAILED = RecipientState.DELIVERED, RecipientState.FAILED
QUEUED, HELD = RecipientState.QUEUED, RecipientState.HELD


def deferral(position: int, due_ms: int, kind: NotNow = NotNow.MESSAGE, **more: Any) -> Deferral:
    words: dict[str, Any] = {"attempts": 1, "periods": 1, "last_period": 1, "reason": "450 later"} | more
    return Deferral(position, due_ms, kind=kind, **words)


async def accepted(place: SpoolPlace, *to: str, **more: Any) -> NewMessage:
    message = place.message(*to, **more)
    await place.spool.accept(message)
    return message


def names(messages: list[Any]) -> list[str]:
    return [r.recipient.forward_path.local_part for m in messages for r in m.recipients]


@on_every_spool
async def test_an_accepted_message_is_there_after_a_restart(place: SpoolPlace) -> None:
    """What was answered with 250 comes back octet for octet, with all that travels beside it."""
    recipients = (
        Recipient(parse_address(b"bob@example.net"), "rfc822;Bob@Example.NET", Notify.SUCCESS),
        Recipient(parse_address(b'"o d d"@example.net'), "", Notify.NEVER),
        Recipient(parse_address("jürgen@bücher.example".encode())),
    )
    sender = parse_address(b"anna@example.org")
    envelope = Envelope(sender, recipients, "HDRS", "id 1", True, True, 3, 17, 0, "N", is_priority_fixed=True)
    message = replace(
        place.message(origin="laptop[192.0.2.7]"), envelope=envelope, routes=("relay", "relay", "relay")
    )
    await place.spool.accept(message)
    await place.restart()
    (found,) = await place.all_due()
    assert (found.queue_id, found.envelope, found.content) == (message.queue_id, envelope, message.content)
    rank = message.rank
    assert found.recipients == [QueuedRecipient(n, r, "relay", rank=rank) for n, r in enumerate(recipients)]
    assert (found.recipients_count, found.origin) == (3, "laptop[192.0.2.7]")
    assert (found.arrived_wall_ms, found.arrived_link_ms) == (
        message.arrived_wall_ms,
        message.arrived_link_ms,
    )


@on_every_spool
async def test_large_content_stays_in_its_file(place: SpoolPlace) -> None:
    """Content in a file comes back as a path, and the file goes with the message, not before."""
    message = place.message_in_file()
    await place.spool.accept(message)
    await place.restart()
    (found,) = await place.all_due()
    assert found.content == message.content
    assert place.has_file(message)
    await place.spool.settle(Settlement(message.queue_id, (Final(0, DELIVERED),), is_whole=True))
    await place.restart()
    assert not place.has_file(message)


@on_every_spool
async def test_the_listener_hears_of_a_message_before_who_waits_for_it(place: SpoolPlace) -> None:
    """A fresh message goes to its delivery from memory, in the same turn of the loop."""
    message = place.message()
    heard_first = []
    future = place.spool.accept(message)
    future.add_done_callback(lambda _: heard_first.append(place.heard == [message]))
    await future
    await asyncio.sleep(0)
    assert heard_first == [True]


@on_every_spool
async def test_a_listener_that_fails_keeps_nobody_from_the_answer(place: SpoolPlace) -> None:
    """An error in the outgo is no reason to let the client wait."""
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    message = place.message()  # opens the spool
    place.spool.listen(lambda message: 1 // 0)
    await asyncio.wait_for(place.spool.accept(message), 10)


@on_every_spool
async def test_who_does_not_wait_any_more_is_no_trouble(place: SpoolPlace) -> None:
    """A session that ends while its message is being written changes nothing for the others."""
    gone, other = place.spool.accept(place.message()), place.spool.accept(place.message())
    gone.cancel()
    await other
    assert len(await place.all_due()) == 2


@on_every_spool
async def test_many_at_the_same_time_are_all_there(place: SpoolPlace) -> None:
    """A batch of any length, of messages of one and of many recipients, is one set of messages."""
    messages = [place.message(*(f"r{n}@example.net" for n in range(1 + i % 7))) for i in range(300)]
    await asyncio.gather(*(place.spool.accept(m) for m in messages))
    found = await place.all_due()
    assert [m.queue_id for m in found] == [m.queue_id for m in messages]
    assert [len(m.recipients) for m in found] == [1 + i % 7 for i in range(300)]
    assert place.heard == messages
    await asyncio.gather(*(place.spool.settle(Settlement(m.queue_id, is_whole=True)) for m in messages[:299]))
    assert [m.queue_id for m in await place.all_due()] == [messages[299].queue_id]


@on_every_spool
async def test_a_message_stays_until_its_last_recipient_is_final(place: SpoolPlace) -> None:
    """Delivered and failed are kept beside those that wait; with the last one all of it goes."""
    message = await accepted(place, "a@example.net", "b@example.net", "c@example.net")
    await place.spool.settle(
        Settlement(message.queue_id, (Final(0, DELIVERED, "250 ok"), Final(2, FAILED, "550 no")))
    )
    (found,) = await place.all_due()
    assert (names([found]), found.recipients_count) == (["b"], 1)
    entries = await place.spool.select(QueueFilter(), 10)
    assert [(e.state, e.reason) for e in entries] == [
        (DELIVERED, "250 ok"),
        (QUEUED, ""),
        (FAILED, "550 no"),
    ]
    await place.spool.settle(Settlement(message.queue_id, (Final(1, RecipientState.EXPIRED, "old"),)))
    assert await place.spool.select(QueueFilter(), 10) == []
    assert (await place.spool.figures()).messages_count == 0


@on_every_spool
async def test_a_final_recipient_has_no_other_end(place: SpoolPlace) -> None:
    """What comes late for a recipient that is final, or for a message that is gone, does nothing."""
    message = await accepted(place, "a@example.net", "b@example.net")
    await place.spool.settle(Settlement(message.queue_id, (Final(0, DELIVERED, "first"),)))
    await place.spool.settle(Settlement(message.queue_id, (Final(0, FAILED, "second"),), (deferral(0, 5),)))
    entries = await place.spool.select(QueueFilter(to="a@"), 10)
    assert [(e.state, e.reason, e.attempts) for e in entries] == [(DELIVERED, "first", 0)]
    extra = QueuedRecipient(0, Recipient(parse_address(b"c@example.net")), "relay")
    await place.spool.settle(Settlement(QueueId(4711), (Final(0, DELIVERED),), added=(extra,)))
    assert len(await place.spool.select(QueueFilter(), 10)) == 2


@on_every_spool
async def test_a_deferral_is_remembered(place: SpoolPlace) -> None:
    """The next try comes when it was said, with all that is known of the last one."""
    message = await accepted(place, "a@example.net", "b@example.net")
    later = deferral(1, 5000, attempts=3, periods=2, last_period=9, is_delay_told=True)
    await place.spool.settle(Settlement(message.queue_id, (), (later,)))
    await place.restart()
    assert names(await place.all_due(now_ms=4999)) == ["a"]
    _, found = await place.all_due(now_ms=5000)
    assert found.recipients == [
        QueuedRecipient(1, message.envelope.recipients[1], "relay", 5000, 3, 2, 9, True)
    ]
    (entry,) = await place.spool.select(QueueFilter(reason="LATER"), 10)
    assert (entry.kind, entry.reason, entry.due_ms) == (NotNow.MESSAGE, "450 later", 5000)


@on_every_spool
async def test_what_is_owed_comes_with_the_settlement(place: SpoolPlace) -> None:
    """A bounce is durable in the commit that makes the recipient failed, and is heard of."""
    message = await accepted(place)
    bounce = place.message("anna@example.org", reverse_path="", route="local")
    await place.spool.settle(Settlement(message.queue_id, (Final(0, FAILED),), owed=(bounce,), is_whole=True))
    assert place.heard == [message, bounce]
    await place.restart()
    (found,) = await place.all_due("local")
    assert (found.queue_id, found.envelope.reverse_path) == (bounce.queue_id, None)
    assert await place.all_due() == []


@on_every_spool
async def test_alias_targets_get_the_next_positions(place: SpoolPlace) -> None:
    """An expanded recipient is final and its targets wait in its place, in the same commit."""
    message = await accepted(place, "sales@example.org", "bob@example.net")
    targets = tuple(
        QueuedRecipient(0, Recipient(parse_address(t)), "local", alias_depth=1)
        for t in (b"anna@example.org", b"carl@example.org")
    )
    await place.spool.settle(Settlement(message.queue_id, (Final(0, DELIVERED, "expanded"),), added=targets))
    (found,) = await place.all_due("local")
    assert [(r.position, r.alias_depth) for r in found.recipients] == [(2, 1), (3, 1)]
    assert (names([found]), found.recipients_count) == (["anna", "carl"], 3)


@on_every_spool
async def test_due_comes_in_order_and_in_pages(place: SpoolPlace) -> None:
    """By due time, then by queue id; a page begins after the last one; every recipient once. (By rank
    first: below.)"""
    first, second, third = [await accepted(place, "a@example.net", "b@example.net") for _ in range(3)]
    await accepted(place, "other@example.net", route="mx:example.net")
    await place.spool.settle(Settlement(first.queue_id, (), (deferral(0, 300),)))
    await place.spool.settle(Settlement(second.queue_id, (), (deferral(0, 200), deferral(1, 200))))
    seen, after = [], FIRST
    while page := await place.spool.due("relay", 1000, after, 1, 1 << 20):
        (message,) = page
        after = place_of(message)
        seen.append((message.queue_id, [r.position for r in message.recipients]))
    assert seen == [
        (first.queue_id, [1]),
        (third.queue_id, [0, 1]),
        (second.queue_id, [0, 1]),
        (first.queue_id, [0]),
    ]


@on_every_spool
async def test_due_is_bounded_by_octets(place: SpoolPlace) -> None:
    """Memory does not grow with the queue: at least one message, then no more than asked for."""
    for _ in range(4):
        await accepted(place)
    size = len(place.heard[0].content.octets)
    assert len(await place.spool.due("relay", 0, FIRST, 10, 1)) == 1
    assert len(await place.spool.due("relay", 0, FIRST, 10, 2 * size)) == 2
    assert len(await place.spool.due("relay", 0, FIRST, 3, 1 << 20)) == 3


@on_every_spool
async def test_routes_say_what_waits(place: SpoolPlace) -> None:
    """Each route with queued recipients, how many, and when the first is due."""
    await accepted(place, "a@example.net", "b@example.net", due_ms=70)
    await accepted(place, "c@example.org", route="local")
    await accepted(place, "d@example.net", route="lmtp", is_held=True)
    routes = [(r.route, r.recipients_count, r.first_due_ms) for r in await place.spool.routes()]
    assert routes == [("local", 1, 0), ("relay", 2, 70)]


@on_every_spool
async def test_old_are_those_that_arrived_before(place: SpoolPlace) -> None:
    """For expiry and delay notices: by queue id, in pages, not those that are held."""
    messages = []
    for is_held in (False, True, False, False):
        messages.append(await accepted(place, is_held=is_held))
        place.clock.advance(60)
    before = messages[3].arrived_wall_ms
    found = await place.spool.old(before, 10, QueueId(0))
    assert [m.queue_id for m in found] == [messages[0].queue_id, messages[2].queue_id]
    assert found[0].content == messages[0].content
    page = await place.spool.old(before, 10, messages[0].queue_id)
    assert [m.queue_id for m in page] == [messages[2].queue_id]
    assert len(await place.spool.old(before, 1, QueueId(0))) == 1


@on_every_spool
async def test_a_message_may_ask_to_be_held_until_a_time(place: SpoolPlace) -> None:
    """HOLDUNTIL (RFC 4865) counts on the wall; a route of the link has its own clock."""
    place.clock.link_down()
    place.clock.advance(3600)
    place.clock.link_up()
    until = place.clock.wall_ms() + 60_000
    await accepted(place, hold_until_ms=until)
    await accepted(place, route="local", hold_until_ms=until)
    await accepted(place, route="lmtp", hold_until_ms=1)
    dues = {r.route: r.first_due_ms for r in await place.spool.routes()}
    assert dues == {"relay": until - 3_600_000, "local": until, "lmtp": 0}


@on_every_spool
async def test_reroute_gives_each_its_new_way(place: SpoolPlace) -> None:
    """A changed smarthost or domain: who waits goes the new way, at once, held ones when released."""
    message = await accepted(place, "a@example.net", "b@example.org")
    held = await accepted(place, "c@example.org", is_held=True)
    await place.spool.settle(Settlement(message.queue_id, (), (deferral(0, 900), deferral(1, 900))))
    changed = await place.spool.reroute(lambda to: "local" if to.endswith("example.org") else "relay")
    assert changed == 2
    assert {r.route: r.first_due_ms for r in await place.spool.routes()} == {"local": 0, "relay": 900}
    (entry,) = await place.spool.select(QueueFilter(ids=(held.queue_id,)), 10)
    assert (entry.route, entry.state) == ("local", HELD)


@on_every_spool
async def test_wake_starts_what_waited_for_one_reason(place: SpoolPlace) -> None:
    """At link-up those that wait because we were off line are due; a refused one waits on."""
    message = await accepted(place, "a@example.net", "b@example.net", "c@example.net")
    offline, host = deferral(0, 9000, NotNow.OFFLINE), deferral(1, 9000, NotNow.HOST)
    await place.spool.settle(Settlement(message.queue_id, (), (offline, host)))
    assert await place.spool.wake("relay", NotNow.OFFLINE, 100) == 1
    assert await place.spool.wake("mx:other", NotNow.HOST, 100) == 0
    assert names(await place.all_due(now_ms=100)) == ["c", "a"]


@on_every_spool
async def test_wake_knows_no_limit(place: SpoolPlace) -> None:
    """More than fit into one commit are all woken."""
    who = [f"r{n}@example.net" for n in range(1000)]
    for _ in range(6):
        message = await accepted(place, *who)
        later = tuple(deferral(n, 9000, NotNow.OFFLINE) for n in range(1000))
        await place.spool.settle(Settlement(message.queue_id, (), later))
    assert await place.spool.wake("relay", NotNow.OFFLINE, 100) == 6000


@on_every_spool
async def test_a_time_of_the_wall_is_kept_through_an_outage(place: SpoolPlace) -> None:
    """The link was down for 300 of the 400 s that have passed: what was to go at 1000 s of the wall is due
    600 s of link-up time from now, not 900; what was tried since, or waits for nobody, is left alone."""
    wall, link = place.clock.wall_ms(), place.clock.link_ms()
    until = wall + 1_000_000
    held = await accepted(place, hold_until_ms=until)
    tried = await accepted(place, hold_until_ms=until)
    await place.spool.settle(Settlement(tried.queue_id, (), (deferral(0, link + 5_000_000),)))
    await accepted(place, route="mx:other", hold_until_ms=until)
    await accepted(place)
    assert await place.spool.keep_time("relay", wall + 100_000, link + 100_000) == 0, "none was lost yet"
    assert await place.spool.keep_time("relay", wall + 400_000, link + 100_000) == 1
    found = {m.queue_id: m.recipients[0].due_ms for m in await place.all_due(now_ms=link + 9_000_000)}
    assert found[held.queue_id] == link + 700_000
    assert found[tried.queue_id] == link + 5_000_000
    assert {r.route: r.first_due_ms for r in await place.spool.routes()}["mx:other"] == link + 1_000_000
    assert await place.spool.keep_time("relay", wall + 400_000, link + 100_000) == 0


FILTERS = {  # name -> filter, the local parts that it means
    "all": (QueueFilter(), ["ann", "b_b", "b%b", "jürgen"]),
    "to, a part of it, any case": (QueueFilter(to="ANN@EX"), ["ann"]),
    "to, a wildcard of SQL is itself": (QueueFilter(to="b%"), ["b%b"]),
    "to, another wildcard": (QueueFilter(to="b_b"), ["b_b"]),
    "to, a backslash": (QueueFilter(to="\\"), []),
    "to, any case of any letter": (QueueFilter(to="JÜRG"), ["jürgen"]),
    "from": (QueueFilter(from_="anna@"), ["ann", "b_b"]),
    "from nobody": (QueueFilter(from_="<>"), ["b%b"]),
    "domain, exactly": (QueueFilter(domain="Example.NET"), ["ann", "b_b"]),
    "domain, not its end": (QueueFilter(domain="net"), []),
    "older": (QueueFilter(older_than_ms=60_000), ["ann", "b_b"]),
    "reason": (QueueFilter(reason="LATER"), ["b_b"]),
    "state": (QueueFilter(states=(HELD,)), ["jürgen"]),
    "states": (QueueFilter(states=(HELD, QUEUED)), ["ann", "b_b", "b%b", "jürgen"]),
    "two of them": (QueueFilter(from_="anna", reason="later"), ["b_b"]),
    "two that do not meet": (QueueFilter(domain="example.com", reason="later"), []),
}


async def four_recipients(place: SpoolPlace) -> list[NewMessage]:
    first = await accepted(place, "ann@example.net", "b_b@example.net")
    await place.spool.settle(Settlement(first.queue_id, (), (deferral(1, 900),)))
    place.clock.advance(60)
    second = await accepted(place, "b%b@sub.example.net", reverse_path="")
    third = await accepted(place, "jürgen@example.com", reverse_path="carl@example.org", is_held=True)
    return [first, second, third]


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_means_exactly(name: str, tmp_path: Path) -> None:
    """An operator's filter means the same on every implementation, wildcards are plain letters."""
    what, expected = FILTERS[name]

    async def check(place: SpoolPlace) -> None:
        await four_recipients(place)
        entries = await place.spool.select(what, 10)
        assert [e.forward_path.split("@")[0] for e in entries] == expected
        assert await place.spool.count(what) == len(expected)

    for kind in ("memory", "sqlite"):
        on_every_spool(check)(kind, tmp_path / kind)


@on_every_spool
async def test_a_list_comes_in_pages(place: SpoolPlace) -> None:
    """Paging by (queue id, position) shows each recipient once."""
    messages = await four_recipients(place)
    seen, after = [], (0, -1)
    while page := await place.spool.select(QueueFilter(), 2, after):
        seen += page
        after = (page[-1].queue_id, page[-1].position)
    ids = [messages[n].queue_id for n in (0, 0, 1, 2)]
    assert [e.queue_id for e in seen] == ids
    chosen = await place.spool.select(QueueFilter(ids=(messages[2].queue_id,)), 10)
    assert [e.queue_id for e in chosen] == ids[3:]


@on_every_spool
async def test_single_recipients_can_be_meant(place: SpoolPlace) -> None:
    """Of a message to two, one alone: what an operator has ticked in a list."""
    first, _, third = await four_recipients(place)
    what = QueueFilter(recipients=((first.queue_id, 1), (third.queue_id, 0), (third.queue_id, 7)))
    entries = await place.spool.select(what, 10)
    assert [e.forward_path for e in entries] == ["b_b@example.net", "jürgen@example.com"]
    assert await place.spool.count(what) == 2
    changed = await place.spool.change(what, Change.DELETE, {})
    assert changed.recipients_count == 2
    assert [e.forward_path for e in await place.spool.select(QueueFilter(), 10)] == [
        "ann@example.net",
        "b%b@sub.example.net",
    ]


@on_every_spool
async def test_an_entry_says_all(place: SpoolPlace) -> None:
    """What `cmail queue list` shows."""
    message = await accepted(place, origin="anna by page")
    (entry,) = await place.spool.select(QueueFilter(), 1)
    assert (entry.reverse_path, entry.forward_path) == ("anna@example.org", "bob@example.net")
    assert (entry.size_bytes, entry.origin) == (message.content.size_bytes, "anna by page")
    assert (entry.arrived_wall_ms, entry.route) == (message.arrived_wall_ms, "relay")


@on_every_spool
async def test_hold_and_release(place: SpoolPlace) -> None:
    """A held recipient is not due; released it is, at once, also after a restart."""
    message = await accepted(place, "a@example.net", "b@example.org")
    await place.spool.settle(Settlement(message.queue_id, (), (deferral(0, 9000, attempts=5),)))
    held = await place.spool.change(QueueFilter(to="a@"), Change.HOLD, {})
    assert (held.recipients_count, list(held.queue_ids)) == (1, [message.queue_id])
    await place.restart()
    assert names(await place.all_due()) == ["b"]
    released = await place.spool.change(QueueFilter(), Change.RELEASE, {"": 7, "relay": 40})
    assert released.recipients_count == 1
    found = [r for m in await place.all_due() for r in m.recipients if r.position == 0]
    assert [(r.due_ms, r.attempts) for r in found] == [(40, 0)]


@on_every_spool
async def test_a_held_recipient_can_still_end(place: SpoolPlace) -> None:
    """Held while an attempt was under way: what the attempt did counts, held it stays."""
    message = await accepted(place, "a@example.net", "b@example.net")
    await place.spool.change(QueueFilter(), Change.HOLD, {})
    await place.spool.settle(Settlement(message.queue_id, (Final(0, DELIVERED),), (deferral(1, 50),)))
    states = [e.state for e in await place.spool.select(QueueFilter(), 10)]
    assert states == [DELIVERED, HELD]


@on_every_spool
async def test_flush_forgets_the_back_off(place: SpoolPlace) -> None:
    """Flushed recipients are due now on their route's clock; held ones stay held."""
    message = await accepted(place, "a@example.net", "b@example.net")
    await place.spool.settle(Settlement(message.queue_id, (), (deferral(0, 9000, attempts=5),)))
    await place.spool.change(QueueFilter(to="b@"), Change.HOLD, {})
    flushed = await place.spool.change(QueueFilter(), Change.FLUSH, {"": 30})
    assert flushed.recipients_count == 1
    (found,) = await place.all_due(now_ms=30)
    assert [(r.position, r.due_ms, r.attempts) for r in found.recipients] == [(0, 30, 0)]


@on_every_spool
async def test_delete_takes_recipients_and_empty_messages(place: SpoolPlace) -> None:
    """Who is meant goes without a word; a message goes with its last waiting recipient."""
    both = await accepted(place, "a@example.net", "b@example.net")
    mixed = await accepted(place, "a@example.net", "c@example.net")
    large = place.message_in_file()
    await place.spool.accept(large)
    await place.spool.settle(Settlement(mixed.queue_id, (Final(1, DELIVERED),)))
    gone = await place.spool.change(QueueFilter(to="a@"), Change.DELETE, {})
    assert (gone.recipients_count, set(gone.queue_ids)) == (2, {both.queue_id, mixed.queue_id})
    assert await place.spool.message(mixed.queue_id) is None
    left = await place.spool.message(both.queue_id)
    assert left is not None and names([left]) == ["b"]
    assert (await place.spool.change(QueueFilter(), Change.DELETE, {})).recipients_count == 2
    await place.restart()
    assert (await place.spool.figures()).messages_count == 0
    assert not place.has_file(large)


@on_every_spool
async def test_one_message_is_told_with_all_that_wait(place: SpoolPlace) -> None:
    """message() has queued and held recipients, not those that are final; None for none."""
    message = await accepted(place, "a@example.net", "b@example.net", "c@example.net")
    await place.spool.settle(Settlement(message.queue_id, (Final(0, DELIVERED),)))
    await place.spool.change(QueueFilter(to="b@"), Change.HOLD, {})
    found = await place.spool.message(message.queue_id)
    assert found is not None and names([found]) == ["b", "c"]
    assert (found.content, found.recipients_count) == (message.content, 2)
    assert await place.spool.message(QueueId(1)) is None


@on_every_spool
async def test_figures_count(place: SpoolPlace) -> None:
    """Messages, recipients by state, and when the oldest arrived."""
    assert await place.spool.figures() == type(await place.spool.figures())()
    first = await accepted(place, "a@example.net", "b@example.net")
    place.clock.advance(5)
    await accepted(place, is_held=True)
    await place.spool.settle(Settlement(first.queue_id, (Final(0, DELIVERED),)))
    figures = await place.spool.figures()
    assert (figures.messages_count, figures.oldest_arrived_ms) == (2, first.arrived_wall_ms)
    assert figures.recipients == {"queued": 1, "held": 1, "delivered": 1}


@on_every_spool
async def test_queue_ids_never_go_back(place: SpoolPlace) -> None:
    """Not when the clock is set back, not over a restart, not when nothing is queued any more."""
    message = await accepted(place)
    await place.spool.settle(Settlement(message.queue_id, (Final(0, DELIVERED),), is_whole=True))
    last = place.spool.new_queue_id()
    place.clock.set_wall_ms(place.clock.wall_ms() - 3_600_000)
    assert place.spool.new_queue_id() > last
    last = place.spool.new_queue_id()
    await place.restart()
    assert place.spool.new_queue_id() > last


DEADLINE = 1_800_000_000_000


def of_size(place: SpoolPlace, size: int, **more: Any) -> NewMessage:
    """A message that says that it is so large (what it has in memory is small)."""
    message = place.message(**more)
    return replace(message, content=replace(message.content, size_bytes=size))


async def ranked(place: SpoolPlace) -> list[NewMessage]:
    """One of each kind, in the order in which they are to go; accepted the other way round."""
    now = place.clock.wall_ms()
    messages = [
        of_size(place, 900, priority=4, deliver_by_ms=now + 9000),
        of_size(place, 9 << 20, priority=4),
        of_size(place, 9 << 20, deliver_by_ms=now + 1000),
        of_size(place, 900, deliver_by_ms=now + 2000),
        of_size(place, 900),
        of_size(place, 100_000),
        of_size(place, 2 << 20),
        of_size(place, 900, priority=-3),
    ]
    for message in reversed(messages):
        await place.spool.accept(message)
    return messages


async def in_order(place: SpoolPlace, now_ms: int, wanted: Wanted, limit: int = 1) -> list[int]:
    """The queue ids that due() finds, page by page."""
    seen, after = [], FIRST
    while page := await place.spool.due("relay", now_ms, after, limit, 1 << 20, wanted):
        assert len(page) <= limit
        after = place_of(page[-1])
        seen += [message.queue_id for message in page]
    return seen


@on_every_spool
async def test_due_comes_by_rank(place: SpoolPlace) -> None:
    """Urgent first, then by deadline, then small before large, whatever came first and however it is
    paged; after a restart too."""
    messages = await ranked(place)
    for limit in (1, 3, 100):
        assert await in_order(place, 0, Wanted(), limit) == [m.queue_id for m in messages]
    await place.restart()
    found = await place.spool.due("relay", 0, FIRST, 100, 1 << 20)
    assert [(m.queue_id, m.recipients[0].rank) for m in found] == [(m.queue_id, m.rank) for m in messages]
    entries = await place.spool.select(QueueFilter(), 10)
    assert {e.queue_id: e.rank for e in entries} == {m.queue_id: m.rank for m in messages}


@on_every_spool
async def test_within_a_rank_the_due_time_counts(place: SpoolPlace) -> None:
    """What was put off comes behind what was due before it, in its own rank alone."""
    first, second, third = [await accepted(place) for _ in range(3)]
    large = of_size(place, 2 << 20)
    await place.spool.accept(large)
    await place.spool.settle(Settlement(first.queue_id, (), (deferral(0, 50),)))
    await place.spool.settle(Settlement(second.queue_id, (), (deferral(0, 90),)))
    order = [third.queue_id, first.queue_id, large.queue_id]
    assert await in_order(place, 60, Wanted()) == order
    assert await in_order(place, 60, Wanted(from_ms=1)) == [first.queue_id]
    assert await in_order(place, 90, Wanted(from_ms=51)) == [second.queue_id]


@on_every_spool
async def test_what_is_not_wanted_is_passed_over(place: SpoolPlace) -> None:
    """Sizes of ordinary and of urgent mail have a limit each; below 0 none of that sort goes."""
    messages = await ranked(place)
    urgent, urgent_large, by_large, by, small, middling, large, low = [m.queue_id for m in messages]
    everything = 1 << 62
    limits = {
        (everything, everything): [urgent, urgent_large, by_large, by, small, middling, large, low],
        (64 * 1024, everything): [urgent, urgent_large, by, small, low],
        (100_000, 1000): [urgent, by, small, middling, low],
        (99_999, -1): [by, small, low],
        (-1, everything): [urgent, urgent_large],
        (0, 0): [],
        (-1, -1): [],
    }
    for (size_max, urgent_size_max), expected in limits.items():
        wanted = Wanted(0, size_max, urgent_size_max)
        assert await in_order(place, 0, wanted) == expected, (size_max, urgent_size_max)
        (waits,) = await place.spool.waits(wanted)
        assert waits.admitted_count == len(expected)


@on_every_spool
async def test_the_next_due_time_is_found_in_every_rank(place: SpoolPlace) -> None:
    """Whatever its rank, and not that of what is not wanted."""
    ordinary = await accepted(place, due_ms=90)
    await place.spool.accept(of_size(place, 2 << 20, due_ms=70))
    await place.spool.accept(of_size(place, 5, priority=1, deliver_by_ms=DEADLINE, due_ms=80))
    held = await accepted(place, route="lmtp", hold_until_ms=5)
    assert await place.spool.next_due("relay", 0) == NextDue(70)
    assert await place.spool.next_due("relay", 70) == NextDue(80)
    assert await place.spool.next_due("relay", 80) == NextDue(90)
    assert await place.spool.next_due("relay", 90) is None
    assert await place.spool.next_due("relay", 0, Wanted(0, 1 << 20, -1)) == NextDue(90)
    assert await place.spool.next_due("relay", 0, Wanted(0, -1, 4)) is None
    assert await place.spool.next_due("lmtp", -1) == NextDue(0, 5)
    assert ordinary.rank == ORDINARY and held.rank == ORDINARY


@on_every_spool
async def test_wake_knows_every_rank(place: SpoolPlace) -> None:
    """Urgent, with a deadline, large: all that wait for the reason are woken, and counted."""
    for message in await ranked(place):
        await place.spool.settle(Settlement(message.queue_id, (), (deferral(0, 9000, NotNow.HOST),)))
    assert await in_order(place, 100, Wanted()) == []
    assert await place.spool.wake("relay", NotNow.HOST, 100) == 8
    assert len(await in_order(place, 100, Wanted())) == 8


@on_every_spool
async def test_what_was_never_released_can_be_let_go(place: SpoolPlace) -> None:
    """Batched mail of a route gets a due time; what has one keeps it."""
    first, second = await accepted(place), await accepted(place)
    await accepted(place, route="local")
    await place.spool.settle(Settlement(second.queue_id, (), (deferral(0, 9000),)))
    assert await place.spool.let_go("relay", 40) == 1
    assert await place.spool.let_go("relay", 50) == 0
    assert [(m.queue_id, m.recipients[0].due_ms) for m in await place.all_due()] == [
        (first.queue_id, 40),
        (second.queue_id, 9000),
    ]
    assert {r.route: r.first_due_ms for r in await place.spool.routes()} == {"local": 0, "relay": 40}


@on_every_spool
async def test_what_can_never_go_is_held_once(place: SpoolPlace) -> None:
    """Held with words; when an operator has released it, no size holds it any more, but where nothing
    at all may go."""
    small, large = of_size(place, 900), of_size(place, 48 << 20)
    for message in (small, large):
        await place.spool.accept(message)
    (entry,) = await place.spool.too_large("relay", 1 << 20, 10)
    assert (entry.queue_id, entry.size_bytes) == (large.queue_id, 48 << 20)
    assert await place.spool.too_large("local", 1 << 20, 10) == []
    assert await place.spool.hold_too_large(large.queue_id, (0, 7), "cannot fit: too long") == 1
    assert await place.spool.hold_too_large(large.queue_id, (0,), "again") == 0
    (entry,) = await place.spool.select(QueueFilter(states=(HELD,)), 10)
    assert (entry.queue_id, entry.reason, entry.was_too_large) == (
        large.queue_id,
        "cannot fit: too long",
        True,
    )
    limited = Wanted(0, 1 << 20, 1 << 20)
    assert await in_order(place, 50, limited) == [small.queue_id]
    await place.spool.change(QueueFilter(), Change.RELEASE, {"": 40})
    await place.restart()
    assert await place.spool.too_large("relay", 1 << 20, 10) == []
    assert await in_order(place, 50, limited) == [small.queue_id, large.queue_id]
    assert await in_order(place, 50, Wanted(0, 3 << 20, -1)) == [small.queue_id, large.queue_id]
    assert await in_order(place, 50, Wanted(0, -1, 1 << 20)) == []
    assert await place.spool.hold_too_large(large.queue_id, (0,), "again") == 0


@on_every_spool
async def test_what_could_not_go_is_asked_about_anew(place: SpoolPlace) -> None:
    """Held for its size alone it is queued, and may be held for it again. What an operator has released, and
    holds again, stays held: its size is no reason of his."""
    large, meant = of_size(place, 48 << 20), of_size(place, 48 << 20)
    for message in (large, meant):
        await place.spool.accept(message)
        assert await place.spool.hold_too_large(message.queue_id, (0,), "cannot fit: too long") == 1
    await place.spool.change(QueueFilter(ids=(meant.queue_id,)), Change.RELEASE, {"": 40})
    assert [e.reason for e in await place.spool.select(QueueFilter(ids=(meant.queue_id,)), 1)] == [""]
    await place.spool.change(QueueFilter(ids=(meant.queue_id,)), Change.HOLD, {"": 40})
    assert await place.spool.ask_anew(meant.queue_id, (0,)) == 0
    assert await place.spool.ask_anew(large.queue_id, (7,)) == 0
    assert await place.spool.ask_anew(large.queue_id, (0,)) == 1
    await place.restart()
    (entry,) = await place.spool.select(QueueFilter(states=(QUEUED,)), 10)
    assert (entry.queue_id, entry.reason, entry.was_too_large) == (large.queue_id, "", False)
    assert await place.spool.hold_too_large(large.queue_id, (0,), "cannot fit: still not") == 1


@on_every_spool
async def test_what_waits_is_summed(place: SpoolPlace) -> None:
    """Each message once on each route, held ones not unless that is asked; how much of it may go."""
    assert await place.spool.waits() == []
    first = of_size(place, 1000)
    first = replace(first, envelope=replace(first.envelope, recipients=first.envelope.recipients * 3))
    await place.spool.accept(replace(first, routes=("relay", "relay", "mx:example.com")))
    place.clock.advance(10)
    await place.spool.accept(of_size(place, 5000, priority=2))
    await place.spool.accept(of_size(place, 700, is_held=True))
    arrived = first.arrived_wall_ms
    assert await place.spool.waits(Wanted(0, 10_000, 10)) == [
        RouteWaits("mx:example.com", 1, 1000, arrived, 0, 1, 1000),
        RouteWaits("relay", 2, 6000, arrived, 1, 1, 1000),
    ]
    with_held = {each.route: each for each in await place.spool.waits(is_held_too=True)}
    assert (with_held["relay"].messages_count, with_held["relay"].octets) == (3, 6700)


@on_every_spool
async def test_what_its_sender_holds_waits_from_then_on(place: SpoolPlace) -> None:
    """RFC 4865: before its time it waits for nothing that anybody could begin for it; then it is as old as that."""
    until = place.clock.wall_ms() + 60_000
    await accepted(place, route="relay", hold_until_ms=until)
    assert await place.spool.waits() == []
    (held,) = await place.spool.waits(is_held_too=True)
    assert (held.messages_count, held.oldest_arrived_ms) == (1, until)
    assert (await place.spool.figures()).oldest_arrived_ms == 0
    place.clock.advance(60)
    (waits,) = await place.spool.waits()
    assert (waits.messages_count, waits.admitted_count, waits.oldest_arrived_ms) == (1, 1, until)
    assert (await place.spool.figures()).oldest_arrived_ms == until


@on_every_spool
async def test_alias_targets_keep_the_rank(place: SpoolPlace) -> None:
    """Urgent mail to an alias is urgent mail to its targets."""
    message = await accepted(place, "sales@example.org", priority=5)
    target = QueuedRecipient(0, Recipient(parse_address(b"anna@example.org")), "local", rank=message.rank)
    await place.spool.settle(Settlement(message.queue_id, (Final(0, DELIVERED),), added=(target,)))
    (found,) = await place.all_due("local")
    assert found.recipients[0].rank == rank_of(5, 0, 0)


@on_every_spool
async def test_what_its_sender_wants_when_it_is_late_is_kept(place: SpoolPlace) -> None:
    """The mode of a deadline (RFC 2852) comes back as it was, beside everything else."""
    modes = ("N", "R", "NT", "RT")
    sent = [await accepted(place, deliver_by_ms=DEADLINE, by_mode=m, is_smtputf8=True) for m in modes]
    await place.restart()
    assert [found.envelope for found in await place.all_due()] == [message.envelope for message in sent]


@on_every_spool
async def test_late_messages_are_found(place: SpoolPlace) -> None:
    """Who is to be returned, and who is to tell of a delay and has not told it; page by page."""
    now = place.clock.link_ms()
    returned = await accepted(place, "a@example.net", deliver_by_ms=now + 10, by_mode="RT")
    told = await accepted(place, "b@example.net", "c@example.net", deliver_by_ms=now + 20, by_mode="N")
    later = await accepted(place, "d@example.net", deliver_by_ms=now + 21, by_mode="R")
    await accepted(place, "e@example.net", deliver_by_ms=now - 5, by_mode="N")  # it came late
    await accepted(place, "f@example.net")
    await place.restart()
    assert [m.queue_id for m in await place.spool.late(now + 9, 10, QueueId(0))] == []
    assert [await place.spool.next_deadline(now + n) for n in (0, 9, 10, 20, 21)] == [
        now + 10,
        now + 10,
        now + 20,
        now + 21,
        0,
    ]
    found = await place.spool.late(now + 20, 10, QueueId(0))
    assert [m.queue_id for m in found] == [returned.queue_id, told.queue_id]
    assert names(found) == ["a", "b", "c"]
    assert [m.queue_id for m in await place.spool.late(now + 20, 1, returned.queue_id)] == [told.queue_id]
    deferrals = tuple(deferral(n, 9000, is_delay_told=True) for n in (0, 1))
    await place.spool.settle(Settlement(told.queue_id, (), deferrals))
    await place.spool.change(QueueFilter(to="a@"), Change.HOLD, {})
    assert [m.queue_id for m in await place.spool.late(now + 21, 10, QueueId(0))] == [later.queue_id]


@on_every_spool
async def test_what_its_sender_holds_is_released_by_an_operator(place: SpoolPlace) -> None:
    """Not by a flush, which is for all that failed; and who holds it besides releases it first."""
    until = place.clock.wall_ms() + 60_000
    message = await accepted(place, route="local", hold_until_ms=until)
    (entry,) = await place.spool.select(QueueFilter(), 10)
    assert entry.reason.startswith("its sender wants it sent on ") and entry.due_ms == until
    flushed = await place.spool.change(QueueFilter(), Change.FLUSH, {"": 7})
    assert flushed.recipients_count == 0
    assert (await place.spool.change(QueueFilter(), Change.HOLD, {})).recipients_count == 1
    assert (await place.spool.change(QueueFilter(), Change.RELEASE, {"": 7})).recipients_count == 1
    await place.restart()
    (summary,) = await place.spool.routes()
    assert summary.first_due_ms == until
    assert (await place.spool.change(QueueFilter(), Change.RELEASE, {"": 7})).recipients_count == 1
    await place.restart()
    (found,) = await place.all_due("local")
    assert found.envelope.hold_until_ms == place.clock.wall_ms()
    assert [r.due_ms for r in found.recipients] == [7]
    assert (await place.spool.change(QueueFilter(), Change.RELEASE, {"": 8})).recipients_count == 0
    assert (await place.spool.change(QueueFilter(ids=(message.queue_id,)), Change.DELETE, {})).queue_ids


@on_every_spool
async def test_a_release_before_its_time_moves_the_deadline_along(place: SpoolPlace) -> None:
    """A time to be delivered by (RFC 2852) runs from the release; and a message has one time for all of its
    recipients, so who releases one of them releases it."""
    now = place.clock.wall_ms()
    message = place.message(
        "a@example.net", "b@example.net", hold_until_ms=now + 60_000, deliver_by_ms=90_000
    )
    await place.spool.accept(message)
    only = QueueFilter(recipients=((message.queue_id, 1),))
    assert (await place.spool.change(only, Change.RELEASE, {"": 7})).recipients_count == 2
    await place.restart()
    (found,) = await place.all_due("relay")
    assert (found.envelope.hold_until_ms, found.envelope.deliver_by_ms) == (now, 30_000)
    assert [queued.due_ms for queued in found.recipients] == [7, 7]
