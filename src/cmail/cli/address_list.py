"""Address lists as people and header fields write them (RFC 5322 §3.4) -> the addresses in them."""

from typing import Final

from cmail.mail.address import Address, AddressSyntaxError, parse_address

ADDRESSES_MAX: Final = 10_000  # in one message; beyond it somebody wants a mailing list


def parse_list(text: str, bare_name_domain: str) -> list[Address]:
    """Every address of a list: display names, groups, comments, folding and source routes are taken
    away, a bare name gets the domain. AddressSyntaxError says which one is wrong."""
    return [qualify(spec, bare_name_domain) for spec in _specs(text)]


def qualify(spec: str, bare_name_domain: str) -> Address:
    """The address of addr-spec or of a bare name."""
    octets = spec.encode("utf-8", "surrogateescape")
    if "@" not in spec.rpartition('"')[2]:
        octets += b"@" + bare_name_domain.encode()
    try:
        return parse_address(octets)
    except AddressSyntaxError as error:
        raise AddressSyntaxError(f"{spec}: {error}") from None


def _specs(text: str) -> list[str]:
    """The addr-specs of a list, without white space and comments."""
    found: list[str] = []
    spec, angle, at, length = "", "", 0, len(text)
    has_angle = False
    while at < length:
        c = text[at]
        if c == '"':
            end = _end_of_quoted(text, at)
            spec += text[at:end]
        elif c == "(":
            end = _end_of_comment(text, at)
            spec += " "
        elif c == "[":
            end = (text.find("]", at) + 1) or length
            spec += text[at:end]
        elif c == "<":
            end = _end_of_angle(text, at)
            angle, has_angle = _without_route(text[at + 1 : end - 1]), True
        elif c in ",;":
            end = at + 1
            _finish(found, angle if has_angle else spec, has_angle)
            spec, angle, has_angle = "", "", False
        elif c == ":" and not has_angle:  # the name of a group ends here (§3.4)
            end, spec = at + 1, ""
        else:
            end = at + 1
            spec += c
        at = end
    _finish(found, angle if has_angle else spec, has_angle)
    return found


def _finish(found: list[str], spec: str, has_angle: bool) -> None:
    spec = _tight(spec)
    if not spec and not has_angle:
        return  # empty elements are allowed (§4.4)
    if not spec:
        raise AddressSyntaxError("<>: an empty address")
    if len(found) >= ADDRESSES_MAX:
        raise AddressSyntaxError(f"more than {ADDRESSES_MAX} addresses")
    found.append(spec)


def _tight(spec: str) -> str:
    """White space around dots and @ goes (obsolete syntax, §4.4), quoted strings keep theirs."""
    if '"' in spec:
        return spec.strip()
    words = spec.split()
    tight = ""
    for word in words:
        if tight and not (tight[-1] in ".@" or word[0] in ".@"):
            return " ".join(words)  # two words: not an address, and said so with its blank
        tight += word
    return tight


def _end_of_quoted(text: str, at: int) -> int:
    at += 1
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise AddressSyntaxError(f"{text.strip()[:80]}: a quote that does not end")
    return at + 1


def _end_of_comment(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        c = text[at]
        depth += (c == "(") - (c == ")")
        at += 2 if c == "\\" else 1
        if not depth:
            return at
    raise AddressSyntaxError(f"{text.strip()[:80]}: a comment that does not end")


def _end_of_angle(text: str, at: int) -> int:
    at += 1
    while at < len(text) and text[at] != ">":
        at = _end_of_quoted(text, at) if text[at] == '"' else at + 1
    if at >= len(text):
        raise AddressSyntaxError(f"{text.strip()[:80]}: a < without its >")
    return at + 1


def _without_route(spec: str) -> str:
    """<@a,@b:user@c> means user@c (RFC 5322 §4.4, RFC 5321 §4.1.2)."""
    spec = spec.strip()
    return spec.partition(":")[2] if spec.startswith("@") else spec
