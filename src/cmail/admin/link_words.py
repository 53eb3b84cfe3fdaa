"""The link in words: each link, the plan of exchanges, their history, for `cmail link` and the page."""

import time
from collections.abc import Mapping
from typing import Any, Final

from cmail.admin.rows import duration, rfc3339
from cmail.policy.order import CLASSES, MIDDLING, MIDDLING_MAX, SMALL, SMALL_MAX, WITH_DEADLINE, band_of

Fields = Mapping[str, Any]

_UNITS: Final = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_NO_LIMIT: Final = 1 << 60


def up_words(told: Fields, name: str = "") -> str:
    """What follows from that somebody has said up, of one link or of all; `told` is the answer to link.up."""
    if told.get("is_down"):
        return f"Noted{_named(name, ' of ')}. Mail for the Internet still waits: {told.get('words', '')}."
    return f"The link{_named(name)} is up."


def down_words(told: Fields, name: str = "") -> str:
    """The same of down."""
    if told.get("is_down"):
        return f"The link{_named(name)} is down: mail for the Internet waits and does not get older."
    return f"Noted{_named(name, ' of ')}. Mail still goes{_by(told)}."


def _named(name: str, before: str = " ") -> str:
    return f"{before}{name}" if name else ""


def _by(told: Fields) -> str:
    link = told.get("link", "")
    return f" by {link}" if link not in ("", "line") else ""


def left_words(seconds: float) -> str:
    """How long until then: 40 s, 12 min 30 s, 2 h 5 min, 3 days 4 h. static/countdown.js says it the same."""
    whole = max(0, round(seconds))
    for unit_s, name, inner_s, inner_name in _LEFT:
        if whole >= unit_s:
            count, rest = whole // unit_s, whole % unit_s // inner_s
            more = f" {rest} {inner_name}" if rest else ""
            return f"{count} {name}{'s' * (name == 'day' and count != 1)}{more}"
    return f"{whole} s"


_LEFT: Final = ((86400, "day", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def order_words(row: Fields) -> str:
    """Why a message of the plan has its place: its priority, then its deadline, then its size."""
    rank, priority = int(row.get("rank", 0)), int(row.get("priority", 0))
    kind = _KINDS.get(band_of(rank) % CLASSES, f"large (over {size(MIDDLING_MAX)})")
    urgency = "urgent, " if priority > 0 else "can wait, " if priority < 0 else ""
    return urgency + kind


_KINDS: Final = {
    WITH_DEADLINE: "has a deadline",
    SMALL: f"small (up to {SMALL_MAX >> 10} KiB)",
    MIDDLING: f"medium (up to {MIDDLING_MAX >> 20} MiB)",
}


def describe(told: Fields) -> list[str]:
    """The answer to link.status as lines: its state first, then what is known of it."""
    is_down = bool(told.get("is_down"))
    words = f": {told['words']}" if told.get("words") else ""
    lines = [f"link: {'down' if is_down else 'up'}{words}"]
    if told.get("changed_wall_ms"):
        lines.append(f"  since: {_local(told['changed_wall_ms'])}")
    if told.get("periods"):
        lines.append(f"  link-up periods so far: {told['periods']}")
    if told.get("down_ms"):
        lines.append(f"  down altogether: {duration(told['down_ms'])}")
    exchange = told.get("exchange") or {}
    if exchange.get("is_planned"):
        lines.append(f"  exchange: {_exchange_words(exchange)}")
    if told.get("last_kick"):
        lines.append(f"  last kick: {told['last_kick']}")
    for link in told.get("links", []):
        lines += _link(link)
    return lines


def _link(link: Fields) -> list[str]:
    used = ", mail goes by it" if link.get("is_used") else ""
    since = f" since {_local(link['since_ms'])}" if link.get("since_ms") else ""
    lines = [f"  {link['name']}: {link['state']}{since}{used}", f"    {link['why']}"]
    if "use" not in link:
        return lines
    if policy := link.get("policy"):
        lines.append(f"    may carry: {policy}" if not link.get("rests") else f"    rests: {policy}")
    if link.get("budget"):
        lines.append(f"    used today: {size(link['used_today'])} of {size(link['budget'])}")
    if link.get("window_budget"):
        used = f"{size(link['used_in_window'])} of {size(link['window_budget'])}"
        lines.append(f"    used in this {link.get('counted_by', 'window')}: {used}")
    if link.get("rate"):
        lines.append(f"    rate: {link['rate']} kbit/s")
    return lines


def _exchange_words(exchange: Fields) -> str:
    if not exchange.get("is_open"):
        return "none goes on; `cmail link plan` says when the next one is"
    until = f", until {_local(exchange['until_ms'])}" if exchange.get("until_ms") else ""
    waits = ""
    if exchange.get("is_working"):
        by = f", until {_local(exchange['latest_ms'])} at most" if exchange.get("latest_ms") else ""
        waits = f"; it stays open while a kick waits for its answer or mail is collected{by}"
    return f"goes on since {_local(exchange['begin_ms'])}{until}: {exchange['why']}{waits}"


def describe_plan(told: Fields) -> list[str]:
    """The answer to link.plan: when the next exchange is, what will go, in which order, how long it takes."""
    lines = [_when(told)]
    lines += [f"Also {rule}." for rule in told.get("rules", [])]
    if told.get("is_down"):
        lines.append(f"The link is down: {told.get('words', '')}")
    waiting = told["waiting"]
    if not waiting["messages"]:
        return [*lines, "Nothing waits for the Internet."]
    lines.append(_waits(waiting, told))
    if (most := told.get("left")) is not None and most < waiting["admitted_octets"]:
        lines.append(f"No more than {size(most)} of it may go before the link rests:")
    lines += [_message(number, row) for number, row in enumerate(told.get("listed", []), 1)]
    left = waiting["admitted_messages"] - len(told.get("listed", []))
    return [*lines, f"  ... and {left} more"] if left > 0 else lines


def _when(told: Fields) -> str:
    if told.get("is_always"):
        return "No exchanges are planned ([exchange]): mail goes whenever the link is up."
    if told.get("is_open"):
        return f"An exchange {_exchange_words(told)}."
    if told.get("next_ms") and told.get("is_down") and not told["next_s"]:
        return f"The next exchange is as soon as the link is up: {told['next_why']}."
    if told.get("next_ms"):
        when = f"{_local(told['next_ms'])}, in {duration(told['next_s'] * 1000)}"
        return f"The next exchange is {when}: {told['next_why']}."
    if told.get("is_planned"):
        return "No exchange is planned by time."
    return "Mail for the Internet is batched (queue.batch): `cmail link exchange` sends it."


def _waits(waiting: Fields, told: Fields) -> str:
    count, admitted = waiting["messages"], waiting["admitted_messages"]
    text = f"{_messages(count)} wait{'s' * (count == 1)}, {size(waiting['octets'])}"
    if waiting["urgent"]:
        text += f", {waiting['urgent']} urgent"
    if admitted < count:
        text += f"; {admitted} of them may go over the link"
    if told.get("takes_s") is not None and admitted:
        text += f"; that takes {duration(max(1, told['takes_s']) * 1000)} at {told['rate']} kbit/s"
    return text + (", in this order:" if told.get("listed") else ".")


def _message(number: int, row: Fields) -> str:
    urgent = ", urgent" if row.get("priority", 0) > 0 else ""
    takes = f", {duration(max(1, round(row['takes_s'])) * 1000)}" if row.get("takes_s") is not None else ""
    to = ", ".join(row.get("to", []))
    return f"  {number:>3}. {row['id']}  {size(row['size']):>9}{takes}{urgent}  <{row['from']}> -> <{to}>"


def describe_history(entries: list[Fields]) -> list[str]:
    """The answer to link.history, the newest first."""
    if not entries:
        return ["There was no exchange yet."]
    return [line for entry in entries for line in _entry(entry)]


def _entry(entry: Fields) -> list[str]:
    begin = _local(entry["begin_ms"])
    if entry["end_ms"]:
        lasted = f"{duration(entry['end_ms'] - entry['begin_ms'])}, {entry['ended']}"
    else:
        lasted = "it goes on"
    by = f" by {entry['link']}" if entry["link"] not in ("", "line") else ""
    lines = [f"{begin}{by}: {entry['why']} ({lasted})"]
    lines.append(
        f"  out: {_messages(entry['messages_out'])}, {size(entry['octets_out'])};"
        f" in: {_messages(entry['messages_in'])}, {size(entry['octets_in'])}"
        + (f"; cost: {money(entry['cost'])}" if entry["cost"] else "")
    )
    return lines + [f"  {words}" for words in [*entry["kicks"], *entry["collections"]]]


def as_json(entry: Fields) -> dict[str, Any]:
    """An exchange as programs read it."""
    times = {"begin": rfc3339(entry["begin_ms"]), "end": rfc3339(entry["end_ms"])}
    return times | {name: entry[name] for name in _ENTRY_KEYS}


_ENTRY_KEYS: Final = (
    "why",
    "link",
    "ended",
    "messages_out",
    "octets_out",
    "messages_in",
    "octets_in",
    "cost",
    "kicks",
    "collections",
)


def size(octets: int) -> str:
    """700 octets, 1.5 MiB."""
    for unit, name in _UNITS:
        if octets >= unit:
            return f"{octets / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{octets} octet{'s' * (octets != 1)}"


def money(cost: float) -> str:
    """1.50, under 0.01."""
    return f"{cost:.2f}" if cost >= 0.01 else "under 0.01"


def _messages(count: int) -> str:
    return f"{count} message{'s' * (count != 1)}"


def _local(wall_ms: int) -> str:
    """2026-01-31 08:15:00, as the clock on the wall shows it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_ms / 1000))
