"""Why a server refused a log-in or a session, in words, and when it is worth to try again."""

import re
from typing import Final

from cmail.link.collect.box import Access, BoxError, Fault
from cmail.protocol.pop3_client import LogInError

# Response codes (RFC 2449 §8.1, RFC 3206, RFC 5530) that say that it is not the password.
NOT_NOW: Final = ("IN-USE", "LOGIN-DELAY", "SYS/TEMP", "UNAVAILABLE", "LIMIT", "INUSE", "SERVERBUG")
# Servers without codes: what RFC 1939 §7 has as examples of PASS, and what old ones say.
_IN_USE: Final = re.compile(
    r"(maildrop|mailbox|pop|mail ?file|mail ?spool)\b.{0,40}\block|lock.{0,40}\b(maildrop|mailbox)|in use\b"
    r"|another (pop3? )?session",
    re.I,
)


def refused(access: Access, error: LogInError) -> BoxError:
    """A log-in that did not succeed."""
    status = error.status
    who = f"{access.username} at {access.host}"
    if status is None:
        return BoxError(f"no log-in as {who}: {error}", Fault.LOG_IN)
    said = f"it said: {status.text or status}"
    code = status.code.split(" ")[0]
    if code in ("IN-USE", "INUSE") or (not code and _IN_USE.search(status.text)):
        return BoxError(f"the mailbox of {who} is in use by another program just now; {said}")
    if code == "LOGIN-DELAY":
        return BoxError(f"{access.host} wants more time between two log-ins; {said}")
    if code in NOT_NOW:
        return BoxError(f"{access.host} cannot let us in just now; {said}")
    if code == "SYS/PERM":  # RFC 3206 §4: not the password, and somebody has to mend it there
        return BoxError(f"{access.host} cannot let us in, and somebody there has to mend that; {said}")
    if code == "EXPIRED":
        return BoxError(f"the password of {who} has expired; {said}", Fault.LOG_IN)
    return BoxError(
        f"{access.host} does not take the user name or the password of {who}; {said}", Fault.LOG_IN
    )
