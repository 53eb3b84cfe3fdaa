"""The queue for people: `cmail queue list`, `show`, and the layout that hands know from `mailq`."""

import base64
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final, TextIO

from cmail.admin.rows import Row, duration

_RULE: Final = "-Queue ID-      --Size-- ----Arrival Time---- -Sender/Recipient-------"


def print_rows(rows: Iterable[Row], out: TextIO) -> int:
    """A line or two a recipient, written while they come; how many there were."""
    now_ms = time.time_ns() // 1_000_000
    count = 0
    for row in rows:
        count += 1
        sender = f"<{printable(row['from'])}>"
        out.write(
            f"{row['id']}  {_size(row['size']):>9}  {_state(row, now_ms):<24}  {sender} -> "
            f"<{printable(row['to'])}>\n"
        )
        if row["reason"]:
            out.write(f"               {printable(row['reason'])}\n")
    return count


def _state(row: Row, now_ms: int) -> str:
    age = duration(now_ms - row["arrived_ms"])
    if row["state"] != "queued":
        return f"{row['state']}, {age} old"
    if row.get("sent_for_ms") is not None:
        return f"being sent, {age} old"
    waits = row["next_ms"] - now_ms
    if not row["next_ms"]:
        return f"waits, {age} old"
    return f"next in {duration(waits)}, {age} old" if waits > 0 else f"due now, {age} old"


def print_shown(parts: Iterator[dict[str, Any]]) -> None:
    """One message. The content goes out as it is, octet for octet."""
    out = sys.stdout
    for part in parts:
        if "envelope" in part:
            _print_envelope(part["envelope"], out)
        elif "recipient" in part:
            _print_recipient(part["recipient"], out)
        else:
            out.flush()
            out.buffer.write(base64.b64decode(part["content"]))
            out.buffer.flush()


def _print_envelope(envelope: dict[str, Any], out: TextIO) -> None:
    out.write(f"{envelope['id']}\nfrom     <{printable(envelope['from'])}>\n")
    out.write(f"arrived  {_local_time(envelope['arrived_ms'])}   size {_size(envelope['size'])}\n")
    for name in ("origin", "envid", "ret"):
        if envelope.get(name):
            out.write(f"{name:<8} {printable(envelope[name])}\n")


def _print_recipient(row: Row, out: TextIO) -> None:
    tried = f", tried {row['attempts']} times" if row["attempts"] else ""
    due = f", next {_local_time(row['next_ms'])}" if row["next_ms"] else ""
    if row.get("sent_for_ms") is not None:
        due = ", being sent now"
    out.write(f"to       <{printable(row['to'])}>  {row['state']}{tried}{due}\n")
    if row["reason"]:
        out.write(f"         {printable(row['reason'])}\n")


def print_mailq(rows: Iterable[Row], out: TextIO) -> None:
    """mailq: a block a message, id with ! when it is on hold, * when it is being sent, as Postfix's readers
    expect it."""
    messages = size = 0
    for queue_id, group in groupby(rows, key=lambda row: row["id"]):
        recipients = list(group)
        first = recipients[0]
        if not messages:
            out.write(_RULE + "\n")
        mark = "!" if all(row["state"] == "held" for row in recipients) else " "
        mark = "*" if any(row.get("sent_for_ms") is not None for row in recipients) else mark
        arrived = time.strftime("%a %b %e %H:%M:%S", time.localtime(first["arrived_ms"] // 1000))
        sender = printable(first["from"]) or "MAILER-DAEMON"
        out.write(f"{queue_id}{mark} {first['size']:>9} {arrived}  {sender}\n")
        for reason, some in groupby(recipients, key=lambda row: row["reason"]):
            if reason:
                out.write(f"{'(' + printable(reason) + ')':>78}\n")
            for row in some:
                out.write(f"{'':41}{printable(row['to'])}\n")
        out.write("\n")
        messages, size = messages + 1, size + first["size"]
    if messages:
        plural = "" if messages == 1 else "s"
        out.write(f"-- {size // 1024} Kbytes in {messages} Request{plural}.\n")
    else:
        out.write("Mail queue is empty\n")


def printable(text: str) -> str:
    """What came from a peer must not reach the terminal as anything but letters (rule 17)."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _size(octets: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if octets >= unit:
            return f"{octets / unit:.1f} {name}"
    return f"{octets} B"


def _local_time(wall_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_ms // 1000))
