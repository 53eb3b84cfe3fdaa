"""Queue ids: never twice, never back, and they read back what they print."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmail.mail.queue_id import QueueIds, arrival_ms, parse_queue_id, print_queue_id


@given(st.integers(0, 2**63 - 1))
def test_printed_ids_read_back(number: int) -> None:
    """print and parse are inverse, in either case of letters."""
    assert parse_queue_id(print_queue_id(number)) == number
    assert parse_queue_id(print_queue_id(number).lower()) == number


@pytest.mark.parametrize("text", ["", "0", "U" * 13, "Z" * 13, "0" * 14, "é" * 13, "0' OR 1=1--xx"])
def test_other_texts_are_refused(text: str) -> None:
    """What is no queue id is refused with words."""
    with pytest.raises(ValueError, match="is not a queue id"):
        parse_queue_id(text)


def test_ids_grow_when_the_clock_goes_back() -> None:
    """A clock that jumps back, and one that stands still, never make an id twice or smaller."""
    times = iter([1000, 1000, 5, 5, *[5] * 9000, 2000])
    ids = QueueIds(3, lambda: next(times))
    made = [ids.new() for _ in range(9005)]
    assert made == sorted(set(made))
    assert arrival_ms(made[-1]) == 2000


def test_ids_go_on_after_a_restart() -> None:
    """A new maker that is told the last id of the disk goes on above it though its clock is behind."""
    last = QueueIds(1, lambda: 9_000).new()
    assert QueueIds(1, lambda: 10, last).new() > last


def test_shards_never_meet() -> None:
    """Two shards at the same millisecond make different ids."""
    assert QueueIds(0, lambda: 7).new() != QueueIds(1, lambda: 7).new()
