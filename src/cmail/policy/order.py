"""Order: the rank of a recipient in its queue, from priority, deadline and size; the smallest goes first.

A rank is a band and a deadline. Band: (9 - priority) * 4 + class; class 0 has a deadline (RFC 2852), 1 is
small, 2 middling, 3 large. Of class 0 the earlier deadline goes first; all others of a band have one rank."""

from typing import Final

PRIORITY_MAX: Final = 9  # RFC 6710 §2
SMALL_MAX: Final = 64 * 1024
MIDDLING_MAX: Final = 1024 * 1024
CLASSES: Final = 4
WITH_DEADLINE, SMALL, MIDDLING, LARGE = range(CLASSES)
BAND_SHIFT: Final = 42  # bits for a deadline in milliseconds; SQLite keeps such a rank in six octets
CLASS_SHIFT: Final = BAND_SHIFT + 2
_DEADLINE_MAX: Final = (1 << BAND_SHIFT) - 1
_CLASS_MASK: Final = (CLASSES - 1) << BAND_SHIFT
_LARGE: Final = LARGE << BAND_SHIFT


def rank_of(priority: int, deliver_by_ms: int, size_bytes: int) -> int:
    """The rank of a message's recipients. `deliver_by_ms`: its deadline, 0 for none."""
    band = (PRIORITY_MAX - priority) * CLASSES
    if deliver_by_ms:
        return band << BAND_SHIFT | min(max(deliver_by_ms, 0), _DEADLINE_MAX)
    if size_bytes <= SMALL_MAX:
        return (band + SMALL) << BAND_SHIFT
    return (band + (MIDDLING if size_bytes <= MIDDLING_MAX else LARGE)) << BAND_SHIFT


ORDINARY: Final = rank_of(0, 0, 0)  # what nearly all mail has


def priority_of(rank: int) -> int:
    """The priority that a rank was made of."""
    return PRIORITY_MAX - (rank >> CLASS_SHIFT)


def is_large(rank: int) -> bool:
    """Whether it may hold up others: it never takes all connections of a route."""
    return rank & _CLASS_MASK == _LARGE


def has_deadline(rank: int) -> bool:
    """Whether its sender said by when."""
    return not rank & _CLASS_MASK


def deadline_of(rank: int) -> int:
    """The deadline that a rank was made of; 0: it has none."""
    return rank & _DEADLINE_MAX if has_deadline(rank) else 0


def band_of(rank: int) -> int:
    """(9 - priority) * 4 + class."""
    return rank >> BAND_SHIFT


def sizes_of(band: int) -> tuple[int, int | None]:
    """The smallest and the largest size of messages in a band; None: any."""
    return {
        WITH_DEADLINE: (0, None),
        SMALL: (0, SMALL_MAX),
        MIDDLING: (SMALL_MAX + 1, MIDDLING_MAX),
        LARGE: (MIDDLING_MAX + 1, None),
    }[band % CLASSES]
