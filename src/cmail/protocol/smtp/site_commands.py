"""ETRN and ATRN as a site says them, parsed, and what the machine itself answers (RFC 1985, RFC 2645)."""

from dataclasses import dataclass
from typing import Final

from cmail.mail.address import AddressSyntaxError, parse_domain
from cmail.protocol.smtp.commands import CommandError, check_octets

NODE_OCTETS_MAX: Final = 255
DOMAINS_MAX: Final = 100  # of one ATRN; a command line has no room for many more

BAD_ETRN: Final = b"501 5.5.4 Syntax: ETRN domain, ETRN @domain or ETRN #queue\r\n"
BAD_ATRN: Final = b"501 5.5.4 Syntax: ATRN [domain[,domain ...]]\r\n"
NO_ETRN: Final = b"502 5.5.1 ETRN is not available\r\n"
NO_ATRN: Final = b"502 5.5.1 ATRN is not available\r\n"
TURNING: Final = b"250 2.0.0 Now the connection turns round: greet me\r\n"
EARLY_OCTETS: Final = b"421 4.7.0 Octets behind ATRN before it was answered\r\n"
HELP: Final = b"214 2.0.0 EHLO STARTTLS AUTH ATRN NOOP RSET QUIT: RFC 2645\r\n"

WHOLE_DOMAIN: Final = "@"  # a domain and all below it (RFC 1985 §5.3)
QUEUE: Final = "#"  # a queue by its name


@dataclass(frozen=True, slots=True)
class Etrn:
    """ETRN [option]node (RFC 1985 §5)."""

    option: str  # "", WHOLE_DOMAIN or QUEUE
    node: str  # a domain in lower case; the name of a queue as it was said

    def __str__(self) -> str:
        return self.option + self.node


def parse_etrn(line: bytes) -> Etrn:
    """ETRN domain, @domain, #name."""
    words = line.split(b" ")
    words = [word for word in words if word]
    if line[4:5] != b" " or len(words) != 2 or len(words[1]) > NODE_OCTETS_MAX:
        raise CommandError(BAD_ETRN)
    check_octets(line)
    text = _ascii(words[1], BAD_ETRN)
    option = text[0] if text[0] in (WHOLE_DOMAIN, QUEUE) else ""
    node = text[len(option) :]
    if option == QUEUE:
        if not node.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise CommandError(BAD_ETRN)
        return Etrn(option, node)
    return Etrn(option, _domain(node, BAD_ETRN))


def parse_atrn(line: bytes) -> tuple[str, ...]:
    """ATRN [domain *("," domain)] (RFC 2645 §5.2.1); () is all that there are."""
    check_octets(line)
    if line[4:5] not in (b"", b" "):
        raise CommandError(b"500 5.5.1 That command is not known here\r\n")
    rest = _ascii(line[4:], BAD_ATRN).strip(" ")
    if not rest:
        return ()
    names = [name.strip(" ") for name in rest.split(",")]
    if len(names) > DOMAINS_MAX:
        raise CommandError(BAD_ATRN)
    return tuple(dict.fromkeys(_domain(name, BAD_ATRN) for name in names))


def _ascii(octets: bytes, reply: bytes) -> str:
    try:
        return octets.decode("ascii")
    except UnicodeDecodeError:
        raise CommandError(reply) from None


def _domain(text: str, reply: bytes) -> str:
    try:
        domain = parse_domain(text)
    except AddressSyntaxError:
        raise CommandError(reply) from None
    if domain.startswith("["):
        raise CommandError(reply)
    return domain.lower()
