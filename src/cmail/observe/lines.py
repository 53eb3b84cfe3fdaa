"""How a line of the log begins and what it is made of: Postfix's grammar, or a JSON object."""

import json
import os
import time
from collections.abc import Callable
from typing import ClassVar, Final

from cmail.observe.sink import printing

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SHORT: Final = [f"{ms / 1000:.2g}" for ms in range(1000)]
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class PostfixLines:
    """`Nov 23 04:27:14 mx cmail/qmgr[12]: `; made once a second for each service."""

    is_json: ClassVar[bool] = False

    def __init__(self, hostname: str, process: str, wall: Callable[[], float] = time.time) -> None:
        self.process = process
        self._hostname = printing(hostname).replace(" ", "-")
        self._wall = wall
        self._second = 0
        self._prefixes: dict[str, str] = {}

    def prefix(self, service: str) -> str:
        """What stands in front of a line of this service."""
        second = int(self._wall())
        if second != self._second:
            self._second = second
            self._prefixes.clear()
        prefix = self._prefixes.get(service)
        return prefix if prefix is not None else self._new_prefix(service)

    def event(self, event: str, **fields: object) -> str:
        """For the type checker: this form has no objects."""
        raise AssertionError("asked for JSON of Postfix's lines")

    def forget(self) -> None:
        """In a process that was just forked: it has another pid."""
        self._second = 0

    def _new_prefix(self, service: str) -> str:
        t = time.localtime(self._second)
        stamp = f"{_MONTHS[t.tm_mon - 1]} {t.tm_mday:2} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
        prefix = f"{stamp} {self._hostname} cmail/{service}[{os.getpid()}]: "
        self._prefixes[service] = prefix
        return prefix


class JsonLines:
    """{"time": RFC 3339 UTC, "event": ..., "host", "pid", and what the event says}."""

    is_json: ClassVar[bool] = True

    def __init__(self, hostname: str, process: str, wall: Callable[[], float] = time.time) -> None:
        self.process = process
        self._hostname = hostname
        self._wall = wall
        self._second = 0
        self._stamp = ""
        self._pid = os.getpid()

    def prefix(self, service: str) -> str:
        """For the type checker: this form has none."""
        raise AssertionError("asked for a prefix of JSON lines")

    def event(self, event: str, **fields: object) -> str:
        """One object; fields that are empty are left out."""
        now = self._wall()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        told: dict[str, object] = {
            "time": f"{self._stamp}.{int(now % 1 * 1000):03}Z",
            "event": event,
            "host": self._hostname,
            "process": self.process,
            "pid": self._pid,
        }
        for name, value in fields.items():
            if value is not None and value != "":
                told[name] = _clean(value)
        return _encode(told)

    def forget(self) -> None:
        """In a process that was just forked: it has another pid."""
        self._pid = os.getpid()


def print_delays(delay_s: float, delays: tuple[float, float, float, float]) -> str:
    """Two digits that count, as Postfix prints them; below a second, where speed counts, by table."""
    before_queue, queued, setup, sending = delays
    try:
        return (
            f"delay={_SHORT[int(delay_s * 1000)]}, delays={_SHORT[int(before_queue * 1000)]}/"
            f"{_SHORT[int(queued * 1000)]}/{_SHORT[int(setup * 1000)]}/{_SHORT[int(sending * 1000)]}"
        )
    except IndexError:
        return f"delay={print_delay(delay_s)}, delays={'/'.join(map(print_delay, delays))}"


def print_delay(seconds: float) -> str:
    """Seconds, to two digits that count."""
    return f"{seconds:.2g}" if seconds < 99.5 else f"{seconds:.0f}"


def _clean(value: object) -> object:
    """Rule 17, also where JSON would have escaped it: a reader of the log unescapes it again."""
    if isinstance(value, str):
        return printing(value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
