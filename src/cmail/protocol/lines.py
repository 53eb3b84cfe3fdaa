"""Bounded CRLF lines in a buffer; bare LF is an error, never a line end."""

from typing import Final

NEED_MORE: Final = -1  # no line end yet
TOO_LONG: Final = -2  # more octets than a line may have, whether or not its end has come
BARE_LF: Final = -3


def find_line_end(data: bytes, start: int, octets_max: int) -> int:
    """Where the CRLF of the line that begins at `start` stands; NEED_MORE, TOO_LONG or BARE_LF.

    The answer does not depend on how the octets were split into packets."""
    lf = data.find(b"\n", start)
    if lf < 0:
        length = len(data) - start - data.endswith(b"\r")
        return TOO_LONG if length > octets_max else NEED_MORE
    if lf > start and data[lf - 1] == 13:
        return lf - 1 if lf - 1 - start <= octets_max else TOO_LONG
    return BARE_LF if lf - start <= octets_max else TOO_LONG


def skip_line(data: bytes, start: int) -> int:
    """Where the next line begins, to throw a line away; NEED_MORE when its end has not come.

    What is thrown away meanwhile is all but a final CR."""
    end = data.find(b"\r\n", start)
    return end + 2 if end >= 0 else NEED_MORE
