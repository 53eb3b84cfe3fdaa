"""Rows and filters as they go between commands and workers."""

import pytest

from cmail.admin.entries import filter_of, row_of
from cmail.admin.rows import JSON_KEYS, json_row, rfc3339, sort_key
from cmail.mail.queue_id import QueueId, print_queue_id
from cmail.storage.spool import QueueEntry, QueueFilter, RecipientState

ARRIVED = 1_770_000_000_123


def entry(state: RecipientState = RecipientState.QUEUED) -> QueueEntry:
    """One recipient."""
    return QueueEntry(
        QueueId(7 << 21), 3, "", "bob@example.net", 99, state, 2, 5, "why", 2, "relay", ARRIVED, ""
    )


def test_json_has_exactly_these_keys() -> None:
    """Programs count on them, in this order, and on times in UTC."""
    shown = json_row(row_of(entry(), lambda route, due_ms: ARRIVED + 1000))
    assert tuple(shown) == JSON_KEYS
    assert shown == {
        "id": print_queue_id(7 << 21),
        "from": "",
        "to": "bob@example.net",
        "size": 99,
        "state": "queued",
        "attempts": 2,
        "next_attempt": "2026-02-02T02:40:01Z",
        "reason": "why",
        "arrived": "2026-02-02T02:40:00Z",
    }


@pytest.mark.parametrize("state", [RecipientState.HELD, RecipientState.QUEUED])
def test_no_next_attempt(state: RecipientState) -> None:
    """null for what is held, and while nobody knows."""
    due_ms = 0 if state is RecipientState.QUEUED else 99
    shown = json_row(row_of(entry(state), lambda route, _: due_ms))
    assert shown["next_attempt"] is None


def test_filters_arrive_whole() -> None:
    """What a command says is what the spool is asked."""
    queue_id = QueueId(7 << 21)
    fields = {
        "ids": [print_queue_id(queue_id)],
        "to": "a",
        "from": "<>",
        "domain": "Example.ORG",
        "older_than_ms": 5,
        "reason": "r",
        "states": ["held"],
    }
    expected = QueueFilter((queue_id,), "a", "<>", "example.org", 5, "r", (RecipientState.HELD,))
    assert filter_of(fields) == expected
    assert filter_of({}) == QueueFilter()


@pytest.mark.parametrize("fields", [{"form": "x"}, {"ids": ["x"]}])
def test_a_filter_that_is_not_understood(fields: dict[str, object]) -> None:
    """It must never mean everything."""
    with pytest.raises(ValueError):
        filter_of(fields)


def test_order() -> None:
    """By message, then as it names its recipients."""
    row = row_of(entry(), lambda route, due_ms: 0)
    assert sort_key(row) == (7 << 21, 3)
    assert rfc3339(0) is None
