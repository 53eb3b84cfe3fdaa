"""SPF records: found among the TXT records of a domain and parsed whole (RFC 7208 §4.5, §4.6.1, §12)."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

VERSION: Final = "v=spf1"
RECORD_CHARACTERS_MAX: Final = 8192  # nobody's is longer; a TXT record could have 65535
QUALIFIERS: Final = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
ADDRESS_NAMES: Final = ("ip4", "ip6")

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")
_DUAL_CIDR: Final = re.compile(r"(?:/(0|[1-9]\d?))?(?://(0|[1-9]\d{0,2}))?\Z")
_NETWORK: Final = re.compile(r"([0-9A-Fa-f:.]+)(?:/(?:0|[1-9]\d{0,2}))?\Z")
_MACRO: Final = re.compile(r"%(?:\{[slodiphvcrtSLODIPHVCRT]\d*[rR]?[.\-+,/_=]*\}|%|_|-)")
_EXPLAINING: Final = re.compile(r"%\{[crtCRT]")  # allowed in the text of exp alone
_TOP_LABEL: Final = re.compile(
    r"\.(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])\.?\Z"
)


class SpfSyntaxError(ValueError):
    """A record that is none; says which term and why."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One term that may match."""

    qualifier: str  # + - ~ ?
    name: str  # all include a mx ptr ip4 ip6 exists
    domain: str = ""  # domain-spec with its macros; "": the domain itself
    network: IPv4Network | IPv6Network | None = None  # of ip4 and ip6
    prefix4: int = 32  # of a and mx
    prefix6: int = 128
    text: str = ""  # as it stands in the record

    def __str__(self) -> str:
        """As it stands in the record."""
        return self.text


@dataclass(frozen=True, slots=True)
class SpfRecord:
    """A whole record."""

    mechanisms: Sequence[Mechanism]
    redirect: str = ""
    exp: str = ""

    @property
    def all(self) -> Mechanism | None:
        """What it says of everybody else; None when it says nothing."""
        return next((each for each in self.mechanisms if each.name == "all"), None)


def select_records(texts: Iterable[str]) -> list[str]:
    """Those TXT records that are SPF: the version and then a space or nothing (RFC 7208 §4.5)."""
    return [text for text in texts if text.lower() == VERSION or text.lower().startswith(VERSION + " ")]


def parse_record(text: str) -> SpfRecord:
    """Parse a record; one error anywhere makes all of it void (RFC 7208 §4.6)."""
    if len(text) > RECORD_CHARACTERS_MAX:
        raise SpfSyntaxError(f"it is longer than {RECORD_CHARACTERS_MAX} characters")
    version, *terms = text.split(" ")
    if version.lower() != VERSION:
        raise SpfSyntaxError("it does not begin with v=spf1")
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, str] = {}
    for term in terms:
        if not term:
            continue
        name, equals, value = term.partition("=")
        if equals and _NAME.match(name):
            _add_modifier(modifiers, name.lower(), value, term)
        else:
            mechanisms.append(_mechanism(term))
    return SpfRecord(tuple(mechanisms), modifiers.get("redirect", ""), modifiers.get("exp", ""))


def _add_modifier(modifiers: dict[str, str], name: str, value: str, term: str) -> None:
    if name in ("redirect", "exp"):
        if name in modifiers:
            raise SpfSyntaxError(f"{name}= stands in it twice")  # RFC 7208 §6
        modifiers[name] = _domain_spec(value, term)
    else:
        _check_macros(value, term)  # unknown modifiers mean nothing, but must be well-formed


def _mechanism(term: str) -> Mechanism:
    has_qualifier = term[0] in QUALIFIERS
    qualifier, rest = (term[0], term[1:]) if has_qualifier else ("+", term)
    end = min((at for at in (rest.find(":"), rest.find("/")) if at >= 0), default=len(rest))
    name, argument = rest[:end].lower(), rest[end:]
    if name == "all" and not argument:
        return Mechanism(qualifier, name, text=term)
    if name in ("include", "exists") and argument.startswith(":"):
        return Mechanism(qualifier, name, _domain_spec(argument[1:], term), text=term)
    if name == "ptr" and (not argument or argument.startswith(":")):
        return Mechanism(qualifier, name, _domain_spec(argument[1:], term) if argument else "", text=term)
    if name in ("a", "mx"):
        return _of_host(qualifier, name, argument, term)
    if name in ADDRESS_NAMES and argument.startswith(":"):
        return Mechanism(qualifier, name, network=_network(name, argument[1:], term), text=term)
    raise SpfSyntaxError(f"{term!r} is no mechanism of SPF")


def _of_host(qualifier: str, name: str, argument: str, term: str) -> Mechanism:
    """a and mx: a domain and two prefix lengths, all of which may be left out (RFC 7208 §5.3, §5.4)."""
    found = _DUAL_CIDR.search(argument)
    assert found, "it matches nothing too"
    domain = argument[: found.start()]
    if domain and (not domain.startswith(":") or domain == ":"):
        raise SpfSyntaxError(f"{term!r}: what stands behind {name} is no domain")
    prefix4, prefix6 = int(found[1] or 32), int(found[2] or 128)
    if prefix4 > 32 or prefix6 > 128:
        raise SpfSyntaxError(f"{term!r}: that length of a network does not exist")
    spec = _domain_spec(domain[1:], term) if domain else ""
    return Mechanism(qualifier, name, spec, prefix4=prefix4, prefix6=prefix6, text=term)


def _network(name: str, text: str, term: str) -> IPv4Network | IPv6Network:
    try:
        if not _NETWORK.match(text):
            raise ValueError
        network = ip_network(text, strict=False)
    except ValueError:
        raise SpfSyntaxError(f"{term!r}: that is no network") from None
    if network.version != (4 if name == "ip4" else 6):
        raise SpfSyntaxError(f"{term!r}: that is an IPv{network.version} network")
    return network


def _domain_spec(text: str, term: str) -> str:
    """RFC 7208 §7.1: macros and visible characters, and at its end a macro or a top-level label."""
    _check_macros(text, term)
    if _EXPLAINING.search(text):
        raise SpfSyntaxError(f"{term!r}: that macro is for explanations")
    if not text.endswith("}") and not _TOP_LABEL.search(text) and not text.endswith(("%%", "%_", "%-")):
        raise SpfSyntaxError(f"{term!r}: there is no domain in it")
    return text


def _check_macros(text: str, term: str) -> None:
    if not all("!" <= c <= "~" for c in text):
        raise SpfSyntaxError(f"{term!r}: a character that may not stand there")
    if "%" in _MACRO.sub("", text):
        raise SpfSyntaxError(f"{term!r}: a % that begins no macro")
