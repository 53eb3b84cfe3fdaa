"""Grammar of RFC 5321 §4.1.2 and its extensions: paths, parameters, xtext, HELO names."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from cmail.mail.address import Address, AddressSyntaxError, parse_address
from cmail.mail.limits import DOMAIN_OCTETS_MAX

# esmtp-param = esmtp-keyword ["=" esmtp-value]; values of RFC 6531 may be UTF-8 (§3.3).
_PARAMETER: Final = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\xff=]+))?\Z")
_XTEXT: Final = re.compile(rb"(?:[!-*,-<>-~\x80-\xff]|\+[0-9A-F]{2})*\Z")  # RFC 3461 §4
_XTEXT_HEX: Final = re.compile(rb"\+([0-9A-F]{2})")
_QUOTED_PATH: Final = re.compile(rb'<(?:[^"<>]|"(?:[^"\\]|\\.)*")*>')
# A-d-l ":" of RFC 5321 §4.1.2; an address literal in it has colons of its own.
_AT_DOMAIN: Final = rb"@(?:\[[^][@]+\]|[^][@,:\x00-\x20]+)"
_SOURCE_ROUTE: Final = re.compile(rb"%b(?:,%b)*:" % (_AT_DOMAIN, _AT_DOMAIN))
# Domain or address literal, and what clients say instead: underscores, a bare name, odd marks.
_HELO_NAME: Final = re.compile(rb"[!-~]{1,%d}\Z" % DOMAIN_OCTETS_MAX)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
PARAMETERS_MAX: Final = 20


class GrammarError(ValueError):
    """Octets that the grammar does not know; the text says what, for people."""


def split_path(rest: bytes) -> tuple[bytes, bytes]:
    """The octets within < and >, and what stands behind; `rest` begins with <."""
    if b'"' not in rest:
        end = rest.find(b">")
    else:
        match = _QUOTED_PATH.match(rest)
        end = match.end() - 1 if match else -1
    if not rest.startswith(b"<") or end < 0:
        raise GrammarError("the address must stand between < and >")
    return rest[1:end], rest[end + 1 :]


@lru_cache(maxsize=1024)
def parse_path(inner: bytes, default_domain: str) -> Address:
    """An address from within < and >. A source route is stripped (RFC 5321 §4.1.1.3, appendix C); a bare name
    gets our domain, so `postmaster` works without one (§4.1.1.3)."""
    if inner.startswith(b"@"):
        route = _SOURCE_ROUTE.match(inner)
        if route is None:
            raise GrammarError("a source route must look like @one.example,@two.example:")
        inner = inner[route.end() :]
    try:
        if b"@" not in inner:
            return parse_address(inner + b"@" + default_domain.encode())
        return parse_address(inner)
    except AddressSyntaxError as error:
        raise GrammarError(str(error)) from None


def parse_parameters(rest: bytes) -> Mapping[str, bytes]:
    """ESMTP parameters (RFC 5321 §4.1.2) by keyword in upper case; one without a value has b""."""
    found: dict[str, bytes] = {}
    words = [word for word in rest.split(b" ") if word]
    if rest and not rest.startswith(b" "):
        raise GrammarError("a blank must stand between the address and its parameters")
    if len(words) > PARAMETERS_MAX:
        raise GrammarError("too many parameters")
    for word in words:
        match = _PARAMETER.match(word)
        if match is None:
            raise GrammarError("a parameter that is not KEYWORD=VALUE")
        keyword = match[1].decode().upper()
        if keyword in found:
            raise GrammarError(f"{keyword} is given twice")
        found[keyword] = match[2] or b""
    return found


def decode_xtext(octets: bytes) -> str:
    """The text that xtext stands for (RFC 3461 §4). It has no control character in it (rule 17)."""
    if not _XTEXT.match(octets):
        raise GrammarError("not xtext")
    plain = _XTEXT_HEX.sub(lambda m: bytes([int(m[1], 16)]), octets)
    try:
        text = plain.decode()
    except UnicodeDecodeError:
        raise GrammarError("xtext that is not UTF-8") from None
    if _CONTROL.search(text):
        raise GrammarError("a control character in xtext")
    return text


@lru_cache(maxsize=1024)
def parse_helo_name(octets: bytes) -> str:
    """The argument of HELO, EHLO or LHLO: printable ASCII, so that it can stand in any line of ours."""
    if not _HELO_NAME.match(octets):
        raise GrammarError("a host name or an address literal must follow")
    return octets.decode()
