"""Told: which orders held when, in a file: a restart makes no chances of the time in which mail was kept.

A row: since when (link-up time), the largest ordinary and urgent message, whether an exchange was open. The
link process writes it, workers read it when they start."""

import json
from typing import Any, Final

from cmail.link.state import LinkLog
from cmail.policy.heard import KEPT_MAX, limits_of
from cmail.policy.orders import Orders
from cmail.storage import durable

TOLD_FILE: Final = "link-orders.json"  # in the data folder
FILE_OCTETS_MAX: Final = 256 * 1024  # a row has some 60
_NUMBER_MAX: Final = 1 << 63

Row = tuple[int, Orders]


class Told:
    """The newest last. Reading and writing block."""

    def __init__(self, path: str, log: LinkLog) -> None:
        self._path, self._log = path, log
        self._rows: list[Row] = []

    def open(self) -> None:
        """Read what was kept."""
        self._rows = read_told(self._path, self._log)

    def note(self, link_ms: int, orders: Orders) -> bool:
        """These hold from now on; whether that is news."""
        if self._rows and limits_of(self._rows[-1][1]) == limits_of(orders):
            return False
        self._rows.append((link_ms, orders))
        del self._rows[:-KEPT_MAX]
        return True

    def octets(self) -> bytes:
        """The file as it is to be."""
        return json.dumps({"orders": [[since, *limits_of(orders)] for since, orders in self._rows]}).encode()

    def save(self, octets: bytes) -> None:
        """Make it durable; what cannot be written is said."""
        try:
            durable.write_durably(self._path, octets)
        except OSError as error:
            self._log.warned(f"{self._path} cannot be written: {error.strerror or error}")


def read_told(path: str, log: LinkLog) -> list[Row]:
    """What was kept, the oldest first; nothing when it makes no sense. Blocks."""
    try:
        with open(path, "rb") as file:
            return [_row(row) for row in json.loads(file.read(FILE_OCTETS_MAX))["orders"]][-KEPT_MAX:]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        log.warned(f"{path}: {error}; how long mail was kept before now is forgotten")
        return []


def _row(row: Any) -> Row:
    since, size_max, urgent_size_max, is_open = row
    numbers = (since, size_max, urgent_size_max)
    is_right = all(type(n) is int and -_NUMBER_MAX < n < _NUMBER_MAX for n in numbers)
    if not is_right or type(is_open) is not bool:
        raise ValueError("not a list of orders")
    return since, Orders(size_max, urgent_size_max, is_open)
