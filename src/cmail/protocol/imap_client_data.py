"""What stands in IMAP's lines: values (atoms, strings, lists) read, and arguments written (RFC 3501 §4)."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

DEPTH_MAX: Final = 20  # nothing that we ask for is nested deeper than three times
VALUES_MAX: Final = 10_000

Value = Any  # str (an atom), bytes (a string), int, None (NIL), or a list of these

_ATOM_END: Final = frozenset(b" ()")
_QUOTED_SAFE: Final = frozenset(range(0x20, 0x7F)) - frozenset(b'"\\')


class ImapError(Exception):
    """It is not IMAP, or more than we take; in words."""


def parse_values(octets: bytes, literals: Sequence[bytes]) -> list[Value]:
    """The values of a line; {n} in it is the literal of that number."""
    root: list[Value] = []
    stack = [root]
    at, end, count = 0, len(octets), 0
    while at < end:
        first = octets[at]
        if first == 0x20:
            at += 1
            continue
        count += 1
        if count > VALUES_MAX:
            raise ImapError("a line with more in it than anybody asked for")
        if first == 0x28:  # (
            inner: list[Value] = []
            stack[-1].append(inner)
            stack.append(inner)
            at += 1
            if len(stack) > DEPTH_MAX:
                raise ImapError("a line with too many brackets")
        elif first == 0x29:  # )
            stack.pop()
            at += 1
            if not stack:
                raise ImapError("a bracket too many")
        else:
            value, at = _value(octets, at, literals)
            stack[-1].append(value)
    if len(stack) != 1:
        raise ImapError("a bracket that is not closed")
    return root


def _value(octets: bytes, at: int, literals: Sequence[bytes]) -> tuple[Value, int]:
    if octets[at] == 0x22:
        return _quoted(octets, at + 1)
    if octets[at] == 0x7B:  # {
        end = octets.find(b"}", at)
        number = octets[at + 1 : end]
        if end < 0 or not number.isdigit() or len(number) > 9 or int(number) >= len(literals):
            raise ImapError("a literal where none may be")
        return literals[int(number)], end + 1
    end, depth = at, 0
    while end < len(octets) and (depth or octets[end] not in _ATOM_END):  # BODY[HEADER.FIELDS (DATE)] is one
        depth += (octets[end] == 0x5B) - (octets[end] == 0x5D)
        if depth < 0:
            raise ImapError("a bracket too many")
        end += 1
    word = octets[at:end]
    if word.upper() == b"NIL":
        return None, end
    if word.isdigit() and len(word) <= 18:
        return int(word), end
    return word.decode("ascii", "replace"), end


def _quoted(octets: bytes, at: int) -> tuple[bytes, int]:
    found = bytearray()
    while True:
        end = octets.find(b'"', at)
        if end < 0:
            raise ImapError("a string that is not closed")
        escape = octets.find(b"\\", at, end)
        if escape < 0:
            return bytes(found + octets[at:end]), end + 1
        found += octets[at:escape] + octets[escape + 1 : escape + 2]
        at = escape + 2


def fetched(values: Sequence[Value]) -> Mapping[str, Value]:
    """The items of a FETCH by their names in upper case; BODY[]<0> is BODY[]."""
    items = values[0] if len(values) == 1 and isinstance(values[0], list) else None
    if items is None or len(items) % 2 or not all(isinstance(name, str) for name in items[::2]):
        raise ImapError("a FETCH that is none")
    return {
        name.upper().partition("<")[0]: value for name, value in zip(items[::2], items[1::2], strict=True)
    }


def origin_of(values: Sequence[Value]) -> int:
    """At which octet of the message the content begins that a FETCH has (RFC 3501 §7.4.2): BODY[]<7>."""
    names = values[0][::2] if len(values) == 1 and isinstance(values[0], list) else []
    name = next((each for each in names if isinstance(each, str) and each.upper().startswith("BODY[]<")), "")
    digits = name[7:].rstrip(">")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else 0


def argument(text: str) -> bytes | None:
    """A quoted string; None when it can only be said as a literal."""
    octets = text.encode()
    if not set(octets) <= _QUOTED_SAFE | frozenset(b'"\\'):
        return None
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def folder_name(name: str) -> str:
    """Modified UTF-7 (RFC 3501 §5.1.3): & begins what is not ASCII."""
    found, held = "", ""
    for letter in name + "\0":
        if " " <= letter <= "~" or letter == "\0":
            if held:
                encoded = base64.b64encode(held.encode("utf-16-be")).decode().rstrip("=").replace("/", ",")
                found, held = f"{found}&{encoded}-", ""
            found += "&-" if letter == "&" else letter.rstrip("\0")
        else:
            held += letter
    return found


def uid_set(uids: Sequence[int]) -> bytes:
    """1:3,7 (RFC 3501 §9, sequence-set) of numbers in order."""
    spans: list[list[int]] = []
    for uid in uids:
        if spans and uid == spans[-1][1] + 1:
            spans[-1][1] = uid
        else:
            spans.append([uid, uid])
    return ",".join(f"{a}:{b}" if a != b else str(a) for a, b in spans).encode()
