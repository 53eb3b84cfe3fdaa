"""EnhancedStatus: class.subject.detail (RFC 3463), with the meanings of IANA's registry as a table."""

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class StatusClass(IntEnum):
    """RFC 3463 §3.1: what it means for retrying."""

    SUCCESS = 2
    TEMPORARY = 4
    PERMANENT = 5


@dataclass(frozen=True, slots=True)
class Detail:
    """What happened, saying nothing of retrying: subject and detail (RFC 3463 §3.2-3.8)."""

    subject: int
    detail: int

    def with_class(self, status_class: StatusClass) -> "EnhancedStatus":
        """The full status; the class is added by the type that knows."""
        return EnhancedStatus(status_class, self)


@dataclass(frozen=True, slots=True)
class EnhancedStatus:
    """5.1.1 as a value."""

    status_class: StatusClass
    what: Detail

    def __str__(self) -> str:
        """class.subject.detail"""
        return f"{int(self.status_class)}.{self.what.subject}.{self.what.detail}"


_STATUS: Final = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=\s|\Z)")


def parse_status(text: str) -> EnhancedStatus | None:
    """The status that a reply's text begins with; None when it begins with none."""
    m = _STATUS.match(text)
    if not m:
        return None
    return EnhancedStatus(StatusClass(int(m[1])), Detail(int(m[2]), int(m[3])))


UNDEFINED: Final = Detail(0, 0)
BAD_MAILBOX: Final = Detail(1, 1)
BAD_SYSTEM: Final = Detail(1, 2)
BAD_ADDRESS_SYNTAX: Final = Detail(1, 3)
NULL_MX: Final = Detail(1, 10)  # RFC 7505 §4.2
MAILBOX_FULL: Final = Detail(2, 2)
FEATURE_MISSING: Final = Detail(3, 3)
MESSAGE_TOO_LARGE: Final = Detail(3, 4)
SYSTEM_FULL: Final = Detail(3, 1)
LOCAL_TROUBLE: Final = Detail(3, 0)
NO_ANSWER_FROM_HOST: Final = Detail(4, 1)
BAD_CONNECTION: Final = Detail(4, 2)
DIRECTORY_FAILURE: Final = Detail(4, 3)
UNABLE_TO_ROUTE: Final = Detail(4, 4)
CONGESTED: Final = Detail(4, 5)
ROUTING_LOOP: Final = Detail(4, 6)
EXPIRED: Final = Detail(4, 7)
BAD_PROTOCOL: Final = Detail(5, 0)
INVALID_COMMAND: Final = Detail(5, 1)
SYNTAX: Final = Detail(5, 2)
TOO_MANY_RECIPIENTS: Final = Detail(5, 3)
INVALID_PARAMETERS: Final = Detail(5, 4)
BAD_CONTENT: Final = Detail(6, 0)
CONVERSION: Final = Detail(6, 3)
SMTPUTF8_NEEDED: Final = Detail(6, 7)  # RFC 6531 §3.5
SECURITY: Final = Detail(7, 0)
NOT_AUTHORIZED: Final = Detail(7, 1)
ENCRYPTION_NEEDED: Final = Detail(7, 11)
CREDENTIALS_BAD: Final = Detail(7, 8)

# IANA SMTP Enhanced Status Codes, subject.detail -> what it means, for people and DSNs.
MEANINGS: Final[dict[tuple[int, int], str]] = {
    (0, 0): "other undefined status",
    (1, 0): "other address status",
    (1, 1): "bad destination mailbox address",
    (1, 2): "bad destination system address",
    (1, 3): "bad destination mailbox address syntax",
    (1, 4): "destination mailbox address ambiguous",
    (1, 5): "destination address valid",
    (1, 6): "destination mailbox has moved",
    (1, 7): "bad sender's mailbox address syntax",
    (1, 8): "bad sender's system address",
    (1, 9): "message relayed to non-compliant mailer",
    (1, 10): "recipient address has null MX",
    (2, 0): "other mailbox status",
    (2, 1): "mailbox disabled",
    (2, 2): "mailbox full",
    (2, 3): "message too large for the mailbox",
    (2, 4): "mailing list expansion problem",
    (3, 0): "other mail system status",
    (3, 1): "mail system full",
    (3, 2): "system not accepting messages",
    (3, 3): "system not capable of selected features",
    (3, 4): "message too big for the system",
    (3, 5): "system incorrectly configured",
    (3, 6): "requested priority was changed",
    (4, 0): "other network or routing status",
    (4, 1): "no answer from host",
    (4, 2): "bad connection",
    (4, 3): "directory server failure",
    (4, 4): "unable to route",
    (4, 5): "mail system congestion",
    (4, 6): "routing loop detected",
    (4, 7): "delivery time expired",
    (5, 0): "other protocol status",
    (5, 1): "invalid command",
    (5, 2): "syntax error",
    (5, 3): "too many recipients",
    (5, 4): "invalid command arguments",
    (5, 5): "wrong protocol version",
    (5, 6): "authentication exchange line is too long",
    (6, 0): "other media error",
    (6, 1): "media not supported",
    (6, 2): "conversion required and prohibited",
    (6, 3): "conversion required but not supported",
    (6, 4): "conversion with loss performed",
    (6, 5): "conversion failed",
    (6, 6): "message content not available",
    (6, 7): "non-ASCII addresses not permitted",
    (6, 8): "UTF-8 string reply is required but not permitted",
    (6, 9): "UTF-8 header message cannot be transferred",
    (6, 10): "UTF-8 header message cannot be transferred to some recipients",
    (7, 0): "other security status",
    (7, 1): "delivery not authorized, message refused",
    (7, 2): "mailing list expansion prohibited",
    (7, 3): "security conversion required but not possible",
    (7, 4): "security features not supported",
    (7, 5): "cryptographic failure",
    (7, 6): "cryptographic algorithm not supported",
    (7, 7): "message integrity failure",
    (7, 8): "authentication credentials invalid",
    (7, 9): "authentication mechanism is too weak",
    (7, 10): "encryption needed",
    (7, 11): "encryption required for requested authentication mechanism",
    (7, 12): "a password transition is needed",
    (7, 13): "user account disabled",
    (7, 14): "trust relationship required",
    (7, 15): "priority level is too low",
    (7, 16): "message is too big for the specified priority",
    (7, 17): "mailbox owner has changed",
    (7, 18): "domain owner has changed",
    (7, 19): "the RRVS test cannot be completed",
    (7, 20): "no passing DKIM signature found",
    (7, 21): "no acceptable DKIM signature found",
    (7, 22): "no valid author-matched DKIM signature found",
    (7, 23): "SPF validation failed",
    (7, 24): "SPF validation error",
    (7, 25): "reverse DNS validation failed",
    (7, 26): "multiple authentication checks failed",
    (7, 27): "sender address has null MX",
    (7, 28): "mail flood detected",
    (7, 29): "ARC validation failure",
    (7, 30): "REQUIRETLS support required",
}
