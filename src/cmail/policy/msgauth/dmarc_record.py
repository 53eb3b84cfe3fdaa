"""DMARC records: what the owner of a domain wants done with mail that is not theirs (RFC 7489 §6.3)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

VERSION: Final = "DMARC1"
POLICIES: Final = ("none", "quarantine", "reject")
URIS_MAX: Final = 20


class DmarcSyntaxError(ValueError):
    """A record that is none; says which tag and why."""


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """A whole record."""

    policy: str  # none | quarantine | reject
    subdomain_policy: str = ""  # "" is as the policy
    percent: int = 100
    is_spf_strict: bool = False
    is_dkim_strict: bool = False
    reports_to: Sequence[str] = ()  # URIs


def select_records(texts: Iterable[str]) -> list[str]:
    """Those TXT records that are DMARC (RFC 7489 §6.6.3)."""
    return [text for text in texts if _pair(text.partition(";")[0]) == ("v", VERSION)]


def parse_record(text: str) -> DmarcRecord:
    """Parse a record: v first, then p; what is not known is passed over (RFC 7489 §6.3, §6.4)."""
    pairs = [_pair(part) for part in text.split(";") if part.strip()]
    if not pairs or pairs[0] != ("v", VERSION):
        raise DmarcSyntaxError("it does not begin with v=DMARC1")
    tags: dict[str, str] = {}
    for name, value in pairs[1:]:
        if not name or not value:
            raise DmarcSyntaxError("between two semicolons there is no tag=value")
        tags.setdefault(name, value)
    uris = [uri.strip() for uri in tags.get("rua", "").split(",") if uri.strip()]
    return DmarcRecord(
        _policy(tags, uris),
        _choice(tags, "sp", POLICIES) if "sp" in tags else "",
        _percent(tags),
        _choice(tags, "aspf", ("r", "s")) == "s",
        _choice(tags, "adkim", ("r", "s")) == "s",
        tuple(uris[:URIS_MAX]),
    )


def _pair(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.strip().lower(), value.strip()


def _policy(tags: dict[str, str], uris: Sequence[str]) -> str:
    """RFC 7489 §6.6.3: without a policy that can be read, but with an address for reports, it is none."""
    value = tags.get("p", "").lower()
    if value in POLICIES:
        return value
    if uris:
        return "none"
    raise DmarcSyntaxError("p= is not none, quarantine or reject" if value else "p= is missing")


def _choice(tags: dict[str, str], name: str, values: Sequence[str]) -> str:
    """What cannot be read counts as not there."""
    value = tags.get(name, values[0]).lower()
    return value if value in values else ""


def _percent(tags: dict[str, str]) -> int:
    text = tags.get("pct", "100")
    return min(int(text), 100) if text.isascii() and text.isdigit() and len(text) < 4 else 100
