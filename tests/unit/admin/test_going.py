"""Mail that is let go by hand where exchanges are planned: whether an exchange begins, and what is said."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from cmail.admin.going import add_going, going_words
from cmail.admin.queue import QueueAnswers
from cmail.policy.orders import FREE, Orders
from cmail.policy.routing import is_internet
from cmail.queue.alone import MESSAGES_MAX
from cmail.storage.spool import Changed
from tests.unit.admin.test_queue_answers import FakeDesk, House

CLOSED = Orders(is_exchange_open=False)


@dataclass
class Desk(FakeDesk):
    """A shard that says how many messages can go."""

    asked: list[int | None] = field(default_factory=list)  # how many were named; None: all
    can: tuple[int, int] = (3, 1)

    async def let_go(self, queue_ids: Sequence[int] | None) -> tuple[int, int]:
        self.asked.append(None if queue_ids is None else len(queue_ids))
        return self.can


def change(
    request: dict[str, Any],
    orders: Orders = CLOSED,
    can: tuple[int, int] = (3, 1),
    no_exchange: str = "",
    named: int = 1,
) -> tuple[dict[str, Any], list[list[int | None]], int]:
    """The answer, what the two shards were asked, and how many exchanges were begun."""
    begun = 0

    async def begin_exchange() -> str:
        nonlocal begun
        begun += 1
        return no_exchange

    async def changes(*_: Any) -> Changed:
        return Changed(named, tuple(range(named)))  # type: ignore[arg-type]

    async def whole() -> tuple[dict[str, Any], list[list[int | None]]]:
        house = House()
        desks = [Desk(desk.spool, desk.link, can=can) for desk in house.desks]
        for desk in desks:
            desk.spool.change = changes  # type: ignore[assignment, method-assign]
        answers = QueueAnswers(
            lambda: desks,
            house.clock,
            house.link,
            is_internet,
            orders=lambda: orders,
            begin_exchange=begin_exchange,
            is_logged=False,
        )
        return await answers.change(request), [desk.asked for desk in desks]

    answer, asked = asyncio.run(whole())
    return answer, asked, begun


ONE = {"ids": ["0000000000001"]}


@pytest.mark.parametrize(
    ("name", "request_", "more", "asked", "begun", "words"),
    [
        ("all", {"change": "flush", "filter": {}}, {}, None, 1, "An exchange begins"),
        ("one", {"change": "flush", "filter": ONE}, {}, 1, 0, "goes now, without an exchange"),
        ("released", {"change": "release", "filter": ONE}, {}, 1, 0, "goes now, without an exchange"),
        ("very many", {"change": "flush", "filter": ONE}, {"named": MESSAGES_MAX + 1}, None, 1, "begins"),
        ("none for it", {"change": "flush", "filter": {}}, {"can": (0, 0)}, None, 0, ""),
        ("kept", {"change": "flush", "filter": ONE}, {"can": (0, 1)}, 1, 0, "2 messages may not go over"),
        ("no plan", {"change": "flush", "filter": {}}, {"orders": FREE, "can": (3, 0)}, None, 0, ""),
        (
            "off line",
            {"change": "flush", "filter": {}},
            {"no_exchange": "no carrier"},
            None,
            1,
            "(no carrier)",
        ),
    ],
)
def test_what_is_sent_now(
    name: str, request_: dict[str, Any], more: dict[str, Any], asked: int | None, begun: int, words: str
) -> None:
    """All that waits begins one exchange; what is named goes by itself; without mail for the Internet, or
    without a plan, neither; and the answer says so."""
    answer, were_asked, were_begun = change(request_, **more)
    assert (were_asked, were_begun) == ([[asked], [asked]], begun)
    said = " ".join(going_words(answer))
    assert words in said if words else not said


def test_holding_asks_nobody() -> None:
    """Hold and delete let nothing go."""
    for name in ("hold", "delete"):
        answer, asked, begun = change({"change": name, "filter": ONE})
        assert answer == {"recipients": 2} and asked == [[], []] and not begun


def test_the_answers_of_workers_together() -> None:
    """Counts are added; one worker that could begin no exchange is not hidden by the others."""
    some: list[dict[str, Any]] = [
        {"recipients": 1, "messages": 1, "kept": 0, "is_link_down": False, "exchange": True},
        {"recipients": 0},
        {"recipients": 2, "messages": 1, "kept": 1, "is_link_down": True, "no_exchange": "no carrier"},
    ]
    assert add_going(some) == {
        "recipients": 3,
        "messages": 2,
        "kept": 1,
        "exchange": True,
        "no_exchange": "no carrier",
        "is_link_down": True,
    }
    said = going_words(add_going(some))
    assert "No exchange can begin now (no carrier)" in said[0]
    assert said[1].startswith("1 message may not go") and said[1].endswith("and waits.")


def test_off_line_it_is_said() -> None:
    """What is named goes at link-up by itself; what no plan keeps goes at link-up with all."""
    down = {"recipients": 1, "messages": 1, "is_link_down": True}
    assert "as soon as that is up, without waiting" in going_words({**down, "is_alone": True})[0]
    assert going_words(down) == ["The link is down: mail for the Internet goes when it is up."]
    assert not going_words({"recipients": 1, "is_link_down": True})
