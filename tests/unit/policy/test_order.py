"""Order: urgent before ordinary, then deadlines, then small before large."""

from cmail.policy.order import (
    MIDDLING_MAX,
    ORDINARY,
    SMALL_MAX,
    band_of,
    has_deadline,
    is_large,
    priority_of,
    rank_of,
    sizes_of,
)

DEADLINE = 1_800_000_000_000


def test_the_smallest_rank_goes_first() -> None:
    """Priority counts most, then a deadline (the earlier one first), then the size."""
    in_order = [
        rank_of(9, DEADLINE, 5),
        rank_of(9, 0, 1 << 40),
        rank_of(1, DEADLINE, 1 << 30),
        rank_of(1, 0, 1),
        rank_of(0, DEADLINE - 1, 1 << 30),
        rank_of(0, DEADLINE, 0),
        rank_of(0, 0, SMALL_MAX),
        rank_of(0, 0, SMALL_MAX + 1),
        rank_of(0, 0, MIDDLING_MAX + 1),
        rank_of(-1, DEADLINE, 0),
        rank_of(-9, 0, MIDDLING_MAX + 1),
    ]
    assert in_order == sorted(set(in_order))


def test_a_band_is_as_the_design_says() -> None:
    """(9 - priority) * 4 + class."""
    assert band_of(rank_of(0, 0, 0)) == 9 * 4 + 1
    assert band_of(rank_of(9, DEADLINE, 0)) == 0
    assert band_of(rank_of(-9, 0, MIDDLING_MAX + 1)) == 18 * 4 + 3
    assert rank_of(0, 0, SMALL_MAX) == ORDINARY


def test_a_rank_says_what_it_was_made_of() -> None:
    """Priority, whether it is large, whether it has a deadline, and the sizes that a band can have."""
    for priority in range(-9, 10):
        for deadline in (0, 1, DEADLINE, 1 << 60):
            for size in (0, SMALL_MAX, SMALL_MAX + 1, MIDDLING_MAX, MIDDLING_MAX + 1):
                rank = rank_of(priority, deadline, size)
                assert priority_of(rank) == priority
                assert has_deadline(rank) is bool(deadline)
                assert is_large(rank) is (not deadline and size > MIDDLING_MAX)
                least, most = sizes_of(band_of(rank))
                assert least <= size and (most is None or size <= most)
                assert rank < 1 << 63


def test_a_deadline_that_makes_no_sense_disturbs_no_other_band() -> None:
    """One before 1970 or far away stays in its band."""
    assert rank_of(0, -5, 0) < rank_of(0, DEADLINE, 0) < rank_of(0, 1 << 60, 0) < ORDINARY
