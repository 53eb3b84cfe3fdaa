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
    """The value of the first field of that name (lower case), unfolded and stripped; None when it is not there."""
    for start in _starts(header, name):
        value = start + len(name) + 1
        end = _end_of_field(header, value)
        return b" ".join(header[value:end].split())
    return None


def has_field(header: bytes, name: bytes) -> bool:
    """Whether a field of that name (lower case) is there."""
    return bool(_starts(header, name))


def count_fields(header: bytes, name: bytes) -> int:
    """How many fields of that name (lower case) there are."""
    return len(_starts(header, name))


def remove_fields(header: bytes, name: bytes) -> bytes:
    """The header without the fields of that name (lower case), folded lines included; the rest octet for octet."""
    kept, done = [], 0
    for start in _starts(header, name):
        kept.append(header[done:start])
        done = _end_of_field(header, start) + 2
    return b"".join([*kept, header[done:]]) if done else header


def _starts(header: bytes, name: bytes) -> list[int]:
    lower = b"\r\n" + header.lower()
    wanted = b"\r\n" + name
    found, at = [], lower.find(wanted)
    while at >= 0:
        behind = (
            lower[at + len(wanted) :].lstrip(b" \t")[:1]
            if lower[at + len(wanted) : at + len(wanted) + 1] in b" \t"
            else lower[at + len(wanted) : at + len(wanted) + 1]
        )
        if behind == b":":
            found.append(at)  # the CRLF in front of lower makes up for the one in wanted
        at = lower.find(wanted, at + 2)
    return found


def _end_of_field(header: bytes, start: int) -> int:
    """Where the CRLF that ends the field stands: one that no blank follows."""
    end = header.find(b"\r\n", start)
    while end >= 0 and header[end + 2 : end + 3] in (b" ", b"\t"):
        end = header.find(b"\r\n", end + 2)
    return end if end >= 0 else len(header)
