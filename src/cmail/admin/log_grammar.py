"""The grammar of the log, read back: a line of Postfix's form, or JSON. See observe/maillog.py.

Lines hold what peers said, so nothing here trusts them: what does not parse is left out, and a value that
looks like the rest of a line stays a value where the grammar allows to tell."""

import calendar
import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from cmail.admin.events import Event

_ID: Final = "[0-9A-HJKMNP-TV-Z]{13}"
# <address>: a quoted local part may have anything in it, > and the rest of a line too.
_PATH: Final = r'<((?:"(?:[^"\\]|\\.)*")?[^>]*)>'
_LINE: Final = re.compile(r"([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) \S+ cmail/([\w-]+)\[(\d+)\]: (.*)")
_OF_MESSAGE: Final = re.compile(rf"({_ID}): (.*)")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_ATTEMPT: Final = re.compile(
    rf"to={_PATH}(?:, orig_to={_PATH})?, relay=(?P<relay>.*?), delay=[\d.]+, delays=[\d./]+,"
    r" dsn=(?P<dsn>\d\.\d+\.\d+), status=(?P<what>sent|deferred|bounced) \((?P<reason>.*)\)"
)
_CLIENT: Final = re.compile(
    r"client=(?P<client>.*?)(?:, sasl_method=(?P<mechanism>\S+?), sasl_username=(?P<username>.*?))?,"
    r" proto=(?P<protocol>\w+), helo=<(?P<helo>.*)>(?:, tls=(?P<tls>\S+))?"
)
PART: Final = "part"  # of an event whose last line is to come
# What stands behind the queue id -> what it is. The first that fits is taken.
_MESSAGE: Final[Sequence[tuple[str, re.Pattern[str]]]] = (
    ("attempted", _ATTEMPT),
    ("accepted", re.compile(
        rf"from={_PATH}, size=(?P<size_bytes>\d+), nrcpt=(?P<recipients_count>\d+) \(queue active\)"
    )),
    (PART, _CLIENT),
    (PART, re.compile(r"message-id=(?P<message_id>.*)")),
    ("removed", re.compile("removed")),
    ("expired", re.compile(rf"from={_PATH}, status=expired, returned to sender")),
    ("held", re.compile("placed on hold by (?P<by>.*)")),
    ("released", re.compile("released from hold by (?P<by>.*)")),
    ("deleted", re.compile("deleted by (?P<by>.*)")),
    ("reported", re.compile(rf"sender (?P<kind>.*): (?P<report_id>{_ID})")),
)  # fmt: skip
_OTHER: Final[Sequence[tuple[str, re.Pattern[str]]]] = (
    ("connected", re.compile("connect from (?P<client>.*)")),
    ("disconnected", re.compile(r"disconnect from (?P<client>.*?\])(?P<counts>(?: [\w-]+=\d+)*)")),
    (
        "refused",
        re.compile(
            r"NOQUEUE: reject: (?P<stage>[\w -]+?) from (?P<client>.*?\]): (?P<reply>.*?)"
            rf"(?:; (?:from=(?P<reverse>{_PATH}) ?)?(?:to=(?P<forward>{_PATH}) ?)?"
            r"(?:proto=(?P<protocol>\w+) ?)?(?:helo=<(?P<helo>[^>]*)>)?)?"
        ),
    ),
    ("too_many_errors", re.compile(r"too many errors after (?P<stage>[\w -]+?) from (?P<client>.*)")),
    (
        "login_failed",
        re.compile(
            r"warning: (?P<client>\S*\]): SASL (?P<mechanism>\S+) authentication failed: (?P<reason>.*?)"
            "(?:, sasl_username=(?P<username>.*))?"
        ),
    ),
    (
        "login_put_off",
        re.compile(
            r"warning: (?P<client>\S*\]): SASL (?P<mechanism>\S+) log-in put off: (?P<reason>.*?)"
            "(?:, sasl_username=(?P<username>.*))?"
        ),
    ),
    ("warned", re.compile("warning: (?P<text>.*)")),
    ("failed", re.compile("error: (?P<text>.*)")),
    ("noted", re.compile("(?P<text>.*)")),
)
_KIND_OF: Final = {
    "accepted": "accepted", "sent": "sent", "expanded": "sent", "deferred": "deferred", "bounced": "bounced",
    "expired": "bounced", "refused": "refused", "too_many_errors": "refused", "login_failed": "login",
    "login_put_off": "login", "held": "queue", "released": "queue", "deleted": "queue", "reported": "queue",
    "removed": "removed", "connected": "session", "disconnected": "session", "warned": "warning",
    "failed": "error",
}  # fmt: skip
_REPORTS: Final = {
    "non-delivery notification": "failed",
    "delay notification": "delayed",
    "delivery status notification": "delivered",
}


def read_postfix(line: str, wall_ms: Callable[[str], int]) -> Event | None:
    """A line of Postfix's grammar; `wall_ms` knows which moment is meant. None: it is none of ours."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    stamp, service, pid, rest = found.groups()
    of_message = _OF_MESSAGE.fullmatch(rest)
    queue_id, rest = of_message.groups() if of_message else ("", rest)
    for what, pattern in _MESSAGE if queue_id else _OTHER:
        if match := pattern.fullmatch(rest):
            fields = {name: value for name, value in match.groupdict().items() if value}
            event = Event(wall_ms(stamp), "", what, service, int(pid), queue_id, fields, line)
            _ADD.get(what, _nothing)(event, match)
            event.kind = _kind(event)
            return event
    return None


def _nothing(_event: Event, _match: re.Match[str]) -> None:
    """All fields have their names in the pattern."""


def _add_attempt(event: Event, match: re.Match[str]) -> None:
    event.what = event.fields.pop("what")
    event.fields["forward_path"] = match[1]
    if match[2]:
        event.fields["original_to"] = match[2]
    if event.process == "local" and event.get("reason").startswith("expanded to "):
        event.what = "expanded"


def _add_reverse_path(event: Event, match: re.Match[str]) -> None:
    event.fields["reverse_path"] = match[1]


def _add_paths(event: Event, _match: re.Match[str]) -> None:
    for name, short in (("reverse_path", "reverse"), ("forward_path", "forward")):
        if path := event.fields.pop(short, ""):
            event.fields[name] = path[1:-1]


def _add_report(event: Event, _match: re.Match[str]) -> None:
    event.fields["kind"] = _REPORTS.get(event.get("kind"), event.get("kind"))


_ADD: Final = {
    "attempted": _add_attempt,
    "accepted": _add_reverse_path,
    "expired": _add_reverse_path,
    "refused": _add_paths,
    "reported": _add_report,
}


def _kind(event: Event) -> str:
    text = event.get("text")
    if event.what in ("warned", "noted") and text.startswith("page: a log-in"):
        return "login"
    if event.what in ("warned", "noted") and text.startswith("settings "):
        return "settings"
    if event.what in ("warned", "noted") and event.process == "link":
        return "link"
    return _KIND_OF.get(event.what, "server")


def stamp_ms(stamp: str, day: str) -> int:
    """Nov 23 04:27:14 in the file of a day: Jan 1 in that of Dec 31 is in the next year, and so on."""
    year, month = int(day[:4]), _MONTHS.index(stamp[:3]) + 1 if stamp[:3] in _MONTHS else 0
    if month == 1 and day[5:7] == "12":
        year += 1
    elif month == 12 and day[5:7] == "01":
        year -= 1
    hour, minute, second = stamp[7:].split(":")
    moment = (year, month, int(stamp[4:6]), int(hour), int(minute), int(second), 0, 0, -1)
    try:
        return int(time.mktime(moment)) * 1000
    except (OverflowError, ValueError):
        return 0


def read_json(line: str) -> Event | None:
    """A line that is an object; None: it is none of ours."""
    try:
        told = json.loads(line)
        wall_ms = _moment_ms(told["time"])
        what = str(told["event"])
        pid = int(told.get("pid", 0))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    fields = {str(name): _text(value) for name, value in told.items() if name not in _FRAME}
    if what == "attempted":
        what = fields.pop("status", "")
        if what not in ("sent", "deferred", "bounced"):
            return None
    elif what not in _KIND_OF and what != "noted":
        return None
    process = str(told.get("service") or told.get("process", ""))
    event = Event(wall_ms, "", what, process, pid, str(told.get("queue_id", "")), fields, line)
    if what == "accepted":
        fields.setdefault("reverse_path", "")
    event.kind = _kind(event)
    return event


_FRAME: Final = frozenset(("time", "event", "host", "process", "pid", "service", "queue_id"))


def _moment_ms(text: str) -> int:
    """Of 2026-11-23T04:27:14.250Z."""
    day = int(text[:4]), int(text[5:7]), int(text[8:10])
    moment = int(text[11:13]), int(text[14:16]), int(text[17:19])
    return calendar.timegm((*day, *moment)) * 1000 + int(text[20:23])


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
