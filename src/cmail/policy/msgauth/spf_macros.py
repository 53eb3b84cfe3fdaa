"""Macros of SPF: %{i}, %{d2r}, %{S} ... put in their values (RFC 7208 §7)."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from cmail.world import IPAddress

NAME_OCTETS_MAX: Final = 253  # RFC 7208 §7.3: longer ones lose labels from the left
UNKNOWN: Final = "unknown"
_PART: Final = re.compile(r"%(?:\{([A-Za-z])(\d*)([rR]?)([.\-+,/_=]*)\}|([%_-]))")
_ESCAPES: Final = {"%": "%", "_": " ", "-": "%20"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the macros say; one question to check_host."""

    client: IPAddress
    sender: str  # local-part@domain
    helo: str = ""
    receiver: str = UNKNOWN  # our name, for explanations
    time_s: int = 0  # now, for explanations

    def value(self, letter: str, domain: str, pointer: str) -> str:
        """Of a letter in lower case."""
        local_part, _, sender_domain = self.sender.rpartition("@")
        match letter:
            case "s":
                return self.sender
            case "l":
                return local_part
            case "o":
                return sender_domain
            case "d":
                return domain
            case "i":
                return _dotted(self.client)
            case "p":
                return pointer or UNKNOWN
            case "h":
                return self.helo or UNKNOWN
            case "v":
                return "in-addr" if self.client.version == 4 else "ip6"
            case "c":
                return str(self.client)
            case "r":
                return self.receiver
            case _:
                return str(self.time_s)


def needs_pointer(text: str) -> bool:
    """Whether %{p} is in it, which costs look-ups."""
    return any((part[1] or "").lower() == "p" for part in _PART.finditer(text))


def expand(text: str, facts: Facts, domain: str, pointer: str = "") -> str:
    """A macro-string with its values; `domain` is the one whose record this is."""

    def put(part: re.Match[str]) -> str:
        if part[5]:
            return _ESCAPES[part[5]]
        value = _transform(facts.value(part[1].lower(), domain, pointer), part[2], bool(part[3]), part[4])
        return quote(value, safe="-._~") if part[1].isupper() else value

    return _PART.sub(put, text)


def expand_domain(text: str, facts: Facts, domain: str, pointer: str = "") -> str:
    """A domain-spec as a name to look up; "" is the domain itself."""
    if not text:
        return domain
    name = expand(text, facts, domain, pointer).removesuffix(".")
    while len(name) > NAME_OCTETS_MAX and "." in name:
        name = name.partition(".")[2]
    return name


def _transform(value: str, digits: str, is_reversed: bool, delimiters: str) -> str:
    """Split, turn round, keep so many from the right, put together with dots (RFC 7208 §7.3)."""
    if not (digits or is_reversed or delimiters):
        return value
    parts = re.split(f"[{re.escape(delimiters or '.')}]", value)
    if is_reversed:
        parts.reverse()
    count = int(digits[:4]) if digits else 0
    return ".".join(parts[-count:] if count else parts)


def _dotted(address: IPAddress) -> str:
    """192.0.2.1; of IPv6 every half octet by itself."""
    if address.version == 4:
        return str(address)
    return ".".join(address.exploded.replace(":", ""))
