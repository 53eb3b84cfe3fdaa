"""[Test] of a mailbox elsewhere: log in and count what is there. Nothing is fetched, marked or deleted."""

import asyncio
from dataclasses import dataclass
from typing import Final

from cmail.link.collect.box import Access, Box, BoxError, Fault
from cmail.link.collect.imap import ImapBox
from cmail.link.collect.pop3 import Pop3Box
from cmail.world import Resolver

TEST_S: Final = 60.0  # all of it: somebody looks at the page meanwhile

_ADVICE: Final = {
    Fault.NETWORK: "Look at the host, its port and the security. Your provider tells them on its web page.",
    Fault.LOG_IN: "Look at the user name, often a whole address, and type the password again. Some providers"
    " want a password of its own for programs, or that POP3 and IMAP are switched on in their settings.",
    Fault.SERVER: "",
    Fault.OURS: "",
}

_IN_CLEAR: Final = "the connection is not encrypted"  # see pop3_client, imap_client_login
_ENCRYPT: Final = "Choose TLS from the first byte, or STARTTLS, always, under Security."


@dataclass(frozen=True, slots=True)
class Tried:
    """How the test ended."""

    is_ok: bool
    words: str
    advice: str = ""


async def test_mailbox(protocol: str, access: Access, resolver: Resolver) -> Tried:
    """In TEST_S at most."""
    if not access.password:
        return Tried(False, "There is no password yet: type it.")
    try:
        async with asyncio.timeout(TEST_S):
            count = await _count(protocol, access, resolver)
    except BoxError as error:
        is_shown = error.fault is Fault.LOG_IN and _IN_CLEAR in error.words
        advice = _ENCRYPT if is_shown else _ADVICE[error.fault]
        return Tried(False, f"{error.words[:1].upper()}{error.words[1:]}.", advice)
    except TimeoutError:
        return Tried(False, f"It took more than {TEST_S:.0f} s and was ended.", _ADVICE[Fault.NETWORK])
    there = {0: "no message waits", 1: "one message waits"}.get(count, f"{count} messages wait")
    return Tried(True, f"It works: the log-in is taken, and {there} there. Nothing was fetched.")


async def _count(protocol: str, access: Access, resolver: Resolver) -> int:
    opening = ImapBox.open if protocol == "imap" else Pop3Box.open
    box: Box = await opening(access, resolver)
    try:
        return len(await box.listing())
    finally:
        box.close()
