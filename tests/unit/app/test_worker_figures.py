"""What a worker counts, and what it says is wrong."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cmail.app.worker_figures import WorkerFigures
from cmail.link.clock import LinkReading, LinkView
from cmail.observe import metrics
from tests.support.clock import FakeClock


def spool(messages: int, words: tuple[str, ...] = (), **recipients: int) -> Any:
    """A shard with so much in it, and what it says of itself."""
    figures = SimpleNamespace(messages_count=messages, recipients=recipients)

    async def said(what: Any) -> Any:
        return what

    return SimpleNamespace(figures=lambda: said(figures), troubles=lambda: said(list(words)))


def test_the_queue_is_counted_over_all_shards() -> None:
    """Recipients by their state, each of which goes back to none."""
    shards = [spool(3, WAITING=4, HELD=1), spool(2, WAITING=5, HELD=0)]
    view = LinkView(FakeClock(), LinkReading(is_down=True))
    asyncio.run(WorkerFigures("/nowhere", shards, view, None).metrics({}))
    assert metrics.QUEUE_MESSAGES.value == 5 and metrics.LINK_UP.value == 0
    assert [metrics.QUEUE_RECIPIENTS.of(state).value for state in ("waiting", "held")] == [9, 1]
    asyncio.run(WorkerFigures("/nowhere", [spool(0, WAITING=0, HELD=0)], view, None).metrics({}))
    assert [metrics.QUEUE_RECIPIENTS.of(state).value for state in ("waiting", "held")] == [0, 0]


@pytest.mark.parametrize(
    ("drop", "has_accounts", "found"),
    [
        (None, False, ["disk full"]),
        ("", True, ["disk full"]),
        ("not ours", True, ["disk full", "not ours"]),
        ("", False, ["disk full", "users and aliases"]),
    ],
)
def test_what_is_wrong(drop: str | None, has_accounts: bool, found: list[str], tmp_path: Path) -> None:
    """Each once, whichever shard says it; of the drop folder and the accounts one worker speaks for all."""
    if has_accounts:
        (tmp_path / "accounts.sqlite3").touch()
    shards = [spool(0, ("disk full",)), spool(0, ("disk full",))]
    drop_trouble = None if drop is None else lambda: str(drop)
    made = WorkerFigures(str(tmp_path), shards, LinkView(FakeClock()), drop_trouble)
    troubles = asyncio.run(made.troubles({}))["troubles"]
    assert len(troubles) == len(found)
    assert all(words in said for words, said in zip(found, troubles, strict=True))
