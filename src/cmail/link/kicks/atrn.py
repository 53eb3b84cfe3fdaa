"""atrn: the connection to the server turns round and our mail comes over it (RFC 2645).

The words of it are here. A worker does it, because our side becomes an SMTP server on that connection."""

from typing import Final

from cmail.link.kicks.target import Verdict
from cmail.mail.reply import Reply

# RFC 2645 §7, and what it means for us.
_MEANINGS: Final = {
    250: (Verdict.SENT, "the connection turns round"),
    421: (Verdict.NOT_NOW, "it has no time now"),
    450: (Verdict.NOT_NOW, "it refuses that for this name"),
    451: (Verdict.NOT_NOW, "it cannot do it now"),
    453: (Verdict.NOTHING, "no mail waits for us there"),
    500: (Verdict.REFUSED, "it does not know ATRN"),
    502: (Verdict.REFUSED, "it does not know ATRN"),
    530: (Verdict.REFUSED, "it wants a log-in: set username and password_file"),
}


def judge_atrn(reply: Reply) -> tuple[Verdict, str]:
    """What a reply to ATRN means."""
    if reply.code in _MEANINGS:
        return _MEANINGS[reply.code]
    if reply.code // 100 == 2:
        return Verdict.REFUSED, "that is no answer to ATRN"  # who sends then, nobody knows
    return (Verdict.NOT_NOW if reply.is_temporary else Verdict.REFUSED), "it refuses"
