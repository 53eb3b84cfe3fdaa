"""Priority of a message from its header section: MT-Priority, Priority, X-Priority, Importance.

Whether they are believed is not decided here. The header is looked at as octets, once; nearly all have none
of these fields, and that costs less than a microsecond."""

from typing import Final

from cmail.mail.headers import find_field, has_field, remove_fields

URGENT: Final = 4  # as RFC 6710 has it for urgent, normal and non-urgent of RFC 2156
NON_URGENT: Final = -4
TUNNEL: Final = b"mt-priority"  # RFC 6758: where a server on the way does not know the extension

_PRIORITY: Final = {b"urgent": URGENT, b"normal": 0, b"non-urgent": NON_URGENT}  # RFC 2156
_IMPORTANCE: Final = {b"high": URGENT, b"normal": 0, b"low": NON_URGENT}  # RFC 2156
_X_PRIORITY: Final = {b"1": URGENT, b"2": 2, b"3": 0, b"4": -2, b"5": NON_URGENT}  # a custom: 1 (Highest)
_TUNNELLED: Final = {b"%d" % number: number for number in range(-9, 10)}  # RFC 6710: no + and no -0


def names_priority(header: bytes) -> bool:
    """Whether the functions below could find anything: one look for all of them, at each message."""
    lower = header.lower()
    return b"riority" in lower or b"mportance" in lower


def header_priority(header: bytes) -> int:
    """The priority that the header section asks for, -9 to 9; 0 when it asks for none. The first of the
    fields that says something known is believed."""
    if not names_priority(header):
        return 0
    for name, meanings in (
        (TUNNEL, _TUNNELLED),
        (b"priority", _PRIORITY),
        (b"x-priority", _X_PRIORITY),
        (b"importance", _IMPORTANCE),
    ):
        value = find_field(header, name)
        meant = meanings.get(_word(value)) if value else None
        if meant is not None:
            return meant
    return 0


def without_tunnel(header: bytes) -> bytes:
    """The header without MT-Priority: it holds for one hop (RFC 6758); the same object without one."""
    return remove_fields(header, TUNNEL) if has_field(header, TUNNEL) else header


def tunnel_field(priority: int) -> bytes:
    """The field for a server that does not offer MT-PRIORITY."""
    return b"MT-Priority: %d\r\n" % priority


def _word(value: bytes) -> bytes:
    """The first word, without a comment behind it."""
    return value.partition(b"(")[0].strip().partition(b" ")[0].lower()
