"""Times and sizes in words, as an operator reads them."""

from typing import Final

_TIMES: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_SIZES: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def duration(seconds: float) -> str:
    """'4 minutes': the largest unit of which it is at least two, or one exactly."""
    whole = max(1, round(seconds))
    for size, name in _TIMES:
        if whole >= 2 * size or whole == size:
            count = round(whole / size)
            return f"{count} {name}{'s' * (count != 1)}"
    return "a moment"


def size_words(octets: int) -> str:
    """'5 MiB', '1.5 MiB', '700 octets'."""
    for size, name in _SIZES:
        if octets >= size:
            return f"{octets / size:.1f}".removesuffix(".0") + f" {name}"
    return f"{octets} octet{'s' * (octets != 1)}"
