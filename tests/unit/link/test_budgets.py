"""Budgets of a link: of the day, of a window, of an exchange; what is left of them, and what outlives us."""

import json
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from cmail.link.allowance import allowance, left_of
from cmail.link.links import Links, Outlook
from cmail.link.settings import LinkSettings, ViaSettings
from cmail.link.spending import Used
from cmail.policy.orders import NO_LIMIT, NOTHING
from cmail.settings import ByteSize
from tests.support.fake_kernel import FakeKernel

ZONE: Final = ZoneInfo("Europe/Berlin")
KIB: Final = 1024
MIB: Final = 2**20


def at(text: str) -> float:
    return datetime.fromisoformat(f"2026-01-{text}").replace(tzinfo=ZONE).timestamp()


NOON: Final = at("30 12:00")  # a Friday


def via(**more: object) -> ViaSettings:
    return ViaSettings("sat", ("eth0",), **more)  # type: ignore[arg-type]


def links(only: ViaSettings) -> Links:
    made = Links(LinkSettings(via=(only,)), ZONE)
    made.show(FakeKernel().whole("eth0").facts(""))
    made.judge(1000)
    return made


def used(made: Links, octets: int, now_s: float = NOON) -> Outlook:
    """What may go when so many octets more are used."""
    made.all[0].use(octets, now_s, ZONE, made.exchange(now_s))
    return made.outlook(now_s)


def restarted(made: Links, only: ViaSettings) -> Links:
    after = links(only)
    after.exchange = made.exchange
    after.resume(json.loads(json.dumps(made.record())))
    return after


@pytest.mark.parametrize("budget", [1, 100, 16_000, 20 * MIB, 1 << 40])
def test_what_just_fits_goes(budget: int) -> None:
    """Whatever was used: a message as large as what is left may go; a larger one by a thirty-second of the budget
    at most, and never by more than is left; orders do not change often for that."""
    made, told = via(budget=ByteSize(budget)), set()
    for gone in sorted({budget * n // 5000 for n in range(5001)} | {budget - (1 << n) for n in range(40)}):
        if gone < 0:
            continue
        left, found = budget - gone, allowance(made, 1, Used(gone), NOON, ZONE)
        told.add(found.size_max)
        if found.is_nothing:
            assert left < 512, "too little for any message"
            continue
        assert left <= found.size_max <= budget
        assert found.size_max - left < max(1, min(budget // 32 + 1, left + 1))
        assert left_of(made, Used(gone)) == left
    assert len(told) <= 32 + 32 + 2


def test_a_window_has_its_budget() -> None:
    """Used, the link is as good as down until the next window begins, and says when; the day goes on."""
    only = via(
        window_budget=ByteSize(5 * MIB), budget=ByteSize(8 * MIB), window=("12:00-13:00", "22:00-06:00")
    )
    made = links(only)
    assert used(made, 0).orders.size_max == 5 * MIB
    found = used(made, 5 * MIB)
    assert found.is_down and not found.is_until_exchange and found.orders.size_max == NOTHING
    assert found.spent == "the 5 MiB of this window are used"
    assert found.words == f"sat: {found.spent}; it rests until the next begins at 22:00"
    assert made.outlook(at("30 13:30")).words == "sat: its window begins at 22:00"
    assert made.outlook(at("30 22:00")).orders.size_max == 3 * MIB, "of the day that much is left"
    assert made.outlook(at("31 00:00")).orders.size_max == 5 * MIB
    found = used(made, 8 * MIB, at("30 23:00"))
    assert found.words == "sat: the 8 MiB of today are used; it rests until midnight"
    assert made.outlook(at("31 00:30")).spent == "the 5 MiB of this window are used", "it is the same window"


def test_a_restart_gives_nothing_back() -> None:
    """Neither of a window nor of an exchange; another window, or another exchange, has its own."""
    only = via(window_budget=ByteSize(4 * MIB), window=("12:00-13:00",))
    made = links(only)
    used(made, 3 * MIB)
    after = restarted(made, only)
    assert after.outlook(NOON + 60).orders.size_max == MIB
    assert used(after, MIB, NOON + 60).is_down
    assert restarted(after, only).outlook(NOON + 3599).is_down
    assert after.outlook(NOON + 86400).orders.size_max == 4 * MIB
    only = via(window_budget=ByteSize(4 * MIB))
    made = links(only)
    made.exchange = lambda now_s: "17"
    used(made, 3 * MIB)
    after = restarted(made, only)
    assert after.outlook(NOON).orders.size_max == MIB
    after.exchange = lambda now_s: "18"
    assert after.outlook(NOON).orders.size_max == 4 * MIB


def test_an_exchange_has_its_budget() -> None:
    """Used, nothing may go, but the link is up: else no other exchange could begin. Between exchanges it is told
    what may go in one; what goes then counts for none."""
    made = links(via(window_budget=ByteSize(5 * MIB)))
    made.exchange = lambda now_s: "17"
    found = used(made, 5 * MIB)
    assert found.is_until_exchange and not found.is_down
    assert (found.orders.size_max, found.orders.urgent_size_max) == (NOTHING, NOTHING)
    assert found.spent == "the 5 MiB of this exchange are used"
    assert found.words == f"sat: {found.spent}; it rests until the next"
    made.exchange = lambda now_s: ""
    assert used(made, 9 * MIB).orders.size_max == 5 * MIB
    made.exchange = lambda now_s: "18"
    found = made.outlook(NOON)
    assert found.orders.size_max == 5 * MIB and found.spent == ""


def test_a_link_that_is_gone_has_not_used_its_budget() -> None:
    """What is said then is that it is down."""
    made = links(via(window_budget=ByteSize(MIB)))
    made.exchange = lambda now_s: "17"
    used(made, MIB)
    made.show(FakeKernel().whole("eth0").device("eth0", carrier=False).facts(""))
    made.judge(2000)
    found = made.outlook(NOON)
    assert found.is_down and not found.spent and found.words == "sat is down: eth0 has no carrier"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"window": ("22:00-06:00",)}, "sat may carry 5 MiB in one window"),
        ({}, "sat may carry 5 MiB in one exchange"),
        ({"largest": ByteSize(MIB)}, "sat takes no more than 1 MiB"),
    ],
)
def test_what_is_larger_can_never_go(more: dict[str, object], words: str) -> None:
    """It is held, and says so."""
    orders = links(via(window_budget=ByteSize(5 * MIB), **more)).outlook(NOON).orders
    assert orders.size_ever == more.get("largest", 5 * MIB) and orders.ever_words == words
    assert links(via()).outlook(NOON).orders.size_ever == NO_LIMIT


@pytest.mark.parametrize(
    "odd", [{"turn": 5}, {"used_in_turn": -1}, {"used_in_turn": True}, {"used": "x"}, {"turn": None}]
)
def test_a_record_that_makes_no_sense(odd: dict[str, object]) -> None:
    """It begins anew."""
    made = links(via(window_budget=ByteSize(MIB), window=("12:00-13:00",), budget=ByteSize(MIB)))
    used(made, MIB)
    record = made.record()
    record["links"]["sat"] |= odd
    after = links(via(window_budget=ByteSize(MIB), window=("12:00-13:00",)))
    after.resume(record)
    assert after.outlook(NOON).is_down is ("used" in odd)
