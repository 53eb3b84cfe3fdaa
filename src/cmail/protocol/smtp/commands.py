"""Commands with arguments, parsed: Mail, Rcpt, Bdat, Auth. What is wrong with one is a CommandError.

MAIL and RCPT lines are remembered as they stand: a client that says the same again costs a look-up."""

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cmail.mail.address import Address
from cmail.mail.envelope import Notify, Recipient
from cmail.protocol.smtp import grammar
from cmail.protocol.smtp.grammar import GrammarError
from cmail.protocol.smtp.scheduling import KEYWORDS, Schedule, parse_schedule

SIZE_DIGITS_MAX: Final = 20  # RFC 1870 §3
ENVID_OCTETS_MAX: Final = 100  # RFC 3461 §4.4
ORCPT_OCTETS_MAX: Final = 500  # RFC 3461 §4.2
_REMEMBERED: Final = 2048


class CommandError(ValueError):
    """A command that cannot be obeyed as it stands; carries the reply."""

    def __init__(self, reply: bytes) -> None:
        super().__init__(reply)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM (RFC 5321 §4.1.1.2) with the parameters of RFC 1870, 6152, 6531, 3461, and those of
    scheduling.py."""

    reverse_path: Address | None  # None: <>
    size_bytes: int = 0
    is_8bit: bool = False
    is_smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    schedule: Schedule | None = None  # None: nothing of it was said


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT TO (RFC 5321 §4.1.1.3) with the parameters of RFC 3461."""

    recipient: Recipient
    is_ascii: bool


@dataclass(frozen=True, slots=True)
class Bdat:
    """BDAT size [LAST] (RFC 3030 §2)."""

    size_bytes: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH mechanism [initial-response] (RFC 4954 §4)."""

    mechanism: str
    initial: bytes | None


@lru_cache(maxsize=_REMEMBERED)
def parse_mail(line: bytes, default_domain: str) -> Mail:
    """MAIL FROM:<reverse-path> and parameters."""
    inner, rest = _path(line, b"MAIL FROM:")
    try:
        reverse_path = grammar.parse_path(inner, default_domain) if inner else None
    except GrammarError as error:
        raise CommandError(_reply(b"553 5.1.7", f"Bad sender address: {error}")) from None
    mail = _with_parameters(reverse_path, _parameters(rest)) if rest else Mail(reverse_path)
    if reverse_path is not None and not mail.is_smtputf8 and not reverse_path.is_ascii:
        raise CommandError(NON_ASCII)
    return mail


@lru_cache(maxsize=_REMEMBERED)
def parse_rcpt(line: bytes, default_domain: str) -> Rcpt:
    """RCPT TO:<forward-path> and parameters."""
    inner, rest = _path(line, b"RCPT TO:")
    try:
        forward_path = grammar.parse_path(inner, default_domain)
    except GrammarError as error:
        raise CommandError(_reply(b"553 5.1.3", f"Bad recipient address: {error}")) from None
    orcpt, notify = "", Notify.UNSPECIFIED
    for keyword, value in _parameters(rest).items():
        if keyword == "ORCPT":
            orcpt = _orcpt(value)
        elif keyword == "NOTIFY":
            notify = _notify(value)
        else:
            raise CommandError(unknown_parameter(keyword))
    return Rcpt(Recipient(forward_path, orcpt, notify), forward_path.is_ascii)


def parse_bdat(line: bytes) -> Bdat:
    """BDAT chunk-size [LAST]."""
    words = line.split()
    is_last = len(words) == 3 and words[2].upper() == b"LAST"
    if line[4:5] != b" " or not (len(words) == 2 or is_last) or not _is_number(words[1]):
        raise CommandError(b"501 5.5.4 Syntax: BDAT size [LAST]\r\n")
    return Bdat(int(words[1]), is_last)


def parse_auth(line: bytes) -> Auth:
    """AUTH mechanism [initial-response]; = is an empty one (RFC 4954 §4)."""
    words = line.split()
    if not 2 <= len(words) <= 3 or not words[1].replace(b"-", b"").replace(b"_", b"").isalnum():
        raise CommandError(b"501 5.5.4 Syntax: AUTH mechanism [initial-response]\r\n")
    mechanism = words[1].decode("ascii").upper()
    if len(words) == 2:
        return Auth(mechanism, None)
    return Auth(mechanism, b"" if words[2] == b"=" else decode_base64(words[2]))


def decode_base64(octets: bytes) -> bytes:
    """What a line of an AUTH exchange stands for (RFC 4954 §4)."""
    try:
        return binascii.a2b_base64(octets, strict_mode=True) if octets else b""
    except (binascii.Error, ValueError):
        raise CommandError(b"501 5.5.2 Not base64\r\n") from None


def check_octets(line: bytes) -> None:
    """A command has no CR and no NUL in it (rule 17); a LF cannot be in a line."""
    if b"\r" in line or b"\0" in line:
        raise CommandError(b"500 5.5.2 A command with CR or NUL in it\r\n")


def _reply(code: bytes, text: str) -> bytes:
    return code + b" " + text.encode("ascii", "replace") + b"\r\n"


def unknown_parameter(keyword: str) -> bytes:
    """The reply to a parameter of MAIL or RCPT that we do not take."""
    return _reply(b"555 5.5.4", f"Parameter {keyword} is not known here")  # RFC 5321 §4.1.1.11


NON_ASCII: Final = b"553 5.6.7 An address beyond ASCII needs SMTPUTF8\r\n"  # RFC 6531 §3.5


def _path(line: bytes, verb: bytes) -> tuple[bytes, bytes]:
    check_octets(line)
    head, rest = line[: len(verb)], line[len(verb) :]
    if head.upper() != verb:
        raise CommandError(b"501 5.5.4 Syntax: " + verb + b"<address>\r\n")
    try:
        return grammar.split_path(rest.lstrip(b" "))  # many say "MAIL FROM: <"
    except GrammarError as error:
        raise CommandError(_reply(b"501 5.5.4", f"Syntax: {verb.decode()}<address>; {error}")) from None


def _parameters(rest: bytes) -> Mapping[str, bytes]:
    try:
        return grammar.parse_parameters(rest) if rest else {}
    except GrammarError as error:
        raise CommandError(_reply(b"501 5.5.4", f"Bad parameters: {error}")) from None


def _with_parameters(reverse_path: Address | None, parameters: Mapping[str, bytes]) -> Mail:
    size_bytes, is_8bit, is_smtputf8, ret, envid = 0, False, False, "", ""
    scheduling: dict[str, bytes] = {}
    for keyword, value in parameters.items():
        if keyword == "SIZE":
            size_bytes = _size(value)
        elif keyword == "BODY":
            is_8bit = _body(value)
        elif keyword == "SMTPUTF8":
            is_smtputf8 = _flag(keyword, value)
        elif keyword == "RET":
            ret = _ret(value)
        elif keyword == "ENVID":
            envid = _xtext(keyword, value, ENVID_OCTETS_MAX)
        elif keyword == "AUTH":
            _xtext(keyword, value, ORCPT_OCTETS_MAX)  # RFC 4954 §5: we believe nobody, and pass nothing on
        elif keyword in KEYWORDS:
            scheduling[keyword] = value
        else:
            raise CommandError(unknown_parameter(keyword))
    schedule = _schedule(scheduling) if scheduling else None
    return Mail(reverse_path, size_bytes, is_8bit, is_smtputf8, ret, envid, schedule)


def _schedule(parameters: Mapping[str, bytes]) -> Schedule:
    try:
        return parse_schedule(parameters)
    except GrammarError as error:
        raise CommandError(_reply(b"501 5.5.4", str(error))) from None


def _is_number(value: bytes) -> bool:
    return value.isdigit() and len(value) <= SIZE_DIGITS_MAX


def _bad(keyword: str, wanted: str) -> CommandError:
    return CommandError(_reply(b"501 5.5.4", f"{keyword} must be {wanted}"))


def _size(value: bytes) -> int:
    if not _is_number(value):
        raise _bad("SIZE", "a number")
    return int(value)


def _body(value: bytes) -> bool:
    if value.upper() not in (b"7BIT", b"8BITMIME"):
        raise _bad("BODY", "7BIT or 8BITMIME")
    return value.upper() == b"8BITMIME"


def _flag(keyword: str, value: bytes) -> bool:
    if value:
        raise _bad(keyword, "without a value")
    return True


def _ret(value: bytes) -> str:
    if value.upper() not in (b"FULL", b"HDRS"):
        raise _bad("RET", "FULL or HDRS")
    return value.upper().decode()


def _xtext(keyword: str, value: bytes, octets_max: int) -> str:
    try:
        if value and len(value) <= octets_max:
            return grammar.decode_xtext(value)
    except GrammarError:
        pass
    raise _bad(keyword, f"xtext of at most {octets_max} octets")


def _orcpt(value: bytes) -> str:
    kind, semicolon, address = value.partition(b";")
    if not semicolon or not kind.replace(b"-", b"").isalnum():
        raise _bad("ORCPT", "like rfc822;anna@example.org")
    return f"{kind.decode('ascii').lower()};{_xtext('ORCPT', address, ORCPT_OCTETS_MAX)}"


def _notify(value: bytes) -> Notify:
    words = value.upper().split(b",")
    if words == [b"NEVER"]:
        return Notify.NEVER
    names = {b"SUCCESS": Notify.SUCCESS, b"FAILURE": Notify.FAILURE, b"DELAY": Notify.DELAY}
    notify = Notify.UNSPECIFIED
    for word in words:
        if word not in names:
            raise _bad("NOTIFY", "NEVER, or some of SUCCESS,FAILURE,DELAY")
        notify |= names[word]
    return notify
