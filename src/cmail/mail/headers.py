"""Header block as raw fields: found and counted, never re-serialised (rule 14)."""

from typing import Final

END: Final = b"\r\n\r\n"


def header_of(content: bytes) -> bytes:
    """The header section with the CRLF of its last line; all of it when there is no body."""
    if content.startswith(b"\r\n"):
        return b""
    end = content.find(END)
    return content if end < 0 else content[: end + 2]


def find_field(header: bytes, name: bytes) -> bytes | None:
    """The value of the first field of that name (lower case), unfolded, blanks made one; None without one."""
    for start in _starts(header, name):
        field = header[start : _end_of_field(header, start)]
        return b" ".join(field.partition(b":")[2].split())
    return None


def has_field(header: bytes, name: bytes) -> bool:
    """Whether a field of that name (lower case) is there."""
    return bool(_starts(header, name))


def count_fields(header: bytes, name: bytes) -> int:
    """How many fields of that name (lower case) there are."""
    return len(_starts(header, name))


def remove_fields(header: bytes, name: bytes) -> bytes:
    """The header without the fields of that name (lower case), folded lines too; the rest octet for octet."""
    kept, done = [], 0
    for start in _starts(header, name):
        kept.append(header[done:start])
        done = _end_of_field(header, start) + 2
    return b"".join([*kept, header[done:]]) if done else header


def is_all_utf8(octets: bytes) -> bool:
    """Whether all of it is UTF-8 (RFC 6532 §3.1)."""
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _starts(header: bytes, name: bytes) -> list[int]:
    """Where the fields of that name begin. Blanks before the colon are obsolete, and read (RFC 5322 §4.5)."""
    lower = b"\r\n" + header.lower()
    wanted = b"\r\n" + name
    found, at = [], lower.find(wanted)
    while at >= 0:
        behind = at + len(wanted)
        if lower[behind : behind + 80].lstrip(b" \t").startswith(b":"):
            found.append(at)  # the CRLF put in front of lower makes up for the one in wanted
        at = lower.find(wanted, behind)
    return found


def _end_of_field(header: bytes, start: int) -> int:
    """Where the CRLF that ends the field stands: one that no blank follows."""
    end = header.find(b"\r\n", start)
    while end >= 0 and header[end + 2 : end + 3] in (b" ", b"\t"):
        end = header.find(b"\r\n", end + 2)
    return end if end >= 0 else len(header)
