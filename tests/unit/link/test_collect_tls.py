"""Mailboxes elsewhere and TLS: what somebody puts in before it is not taken for the server's, and no password goes
in clear where TLS is required (rules 7 and 19)."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.collecting import Office, pop3
from tests.support.mailboxes_elsewhere import message
from tests.support.meddler import Meddler
from tests.support.scripted_imap import ScriptedImap
from tests.support.scripted_pop3 import ScriptedPop3

_CAPA: Final = ("USER", "UIDL", "STLS", "SASL PLAIN")
_IMAP: Final = "IMAP4rev1 STARTTLS AUTH=PLAIN"


@dataclass(frozen=True)
class Bad:
    """What is said at a command, and the words of the end."""

    protocol: str
    tls: str
    at: bytes
    head: bytes
    words: str
    capabilities: Any = None


BAD: Final[dict[str, Bad]] = {
    "POP3, an answer too many": Bad("pop3", "required", b"STLS", b"+OK go\r\n+OK in\r\n", "what nobody asked"),
    "POP3, half an answer too many": Bad("pop3", "required", b"STLS", b"+OK go\r\n+OK in", "in clear text, before TLS"),
    "POP3, the same, opportunistic": Bad("pop3", "opportunistic", b"STLS", b"+OK go\r\n+OK i", "in clear text, before TLS"),
    "POP3, no TLS there": Bad("pop3", "required", b"no such line", b"", "TLS is required", ("USER", "UIDL")),
    "POP3, TLS refused": Bad("pop3", "required", b"STLS", b"-ERR not now\r\n", "TLS is required"),
    "POP3, garbage for TLS": Bad("pop3", "required", b"STLS", b"+OK go\r\n", ""),
    "POP3, plain where TLS is from the first octet": Bad("pop3", "implicit", b"", b"+OK hello\r\n", "TLS with"),
    "IMAP, an answer too many": Bad("imap", "required", b"STARTTLS", b"TAG OK go\r\n* OK in\r\n", "in clear text, before TLS"),
    "IMAP, capabilities too many": Bad(
        "imap", "required", b"STARTTLS", b"TAG OK go\r\n* CAPABILITY AUTH=PLAIN\r\n", "in clear text, before TLS"
    ),
    "IMAP, half an answer too many": Bad("imap", "required", b"STARTTLS", b"TAG OK go\r\n* O", "in clear text, before TLS"),
    "IMAP, an answer ahead": Bad("imap", "required", b"STARTTLS", b"TAG OK go\r\nC3 OK in\r\n", "no answer of IMAP"),
    "IMAP, no TLS there": Bad("imap", "required", b"no such line", b"", "TLS is required", "IMAP4rev1"),
    "IMAP, TLS refused": Bad("imap", "required", b"STARTTLS", b"TAG NO later\r\n", "TLS is required"),
    "IMAP, logged in before we said who we are": Bad("imap", "required", b"", b"* PREAUTH hello\r\n", "TLS is required"),
    "IMAP, plain where TLS is from the first octet": Bad("imap", "implicit", b"", b"* OK hello\r\n", "TLS with"),
}  # fmt: skip
_SECRETS: Final = (b"secret", b"AGFubmEAc2VjcmV0", b"USER", b"PASS", b"LOGIN", b"AUTH", b"anna")


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """To its end."""
    asyncio.run(asyncio.wait_for(test(), 60))


@pytest.mark.parametrize("what", BAD)
def test_nothing_is_believed_or_given_away(tmp_path: Path, what: str) -> None:
    """The session ends with words; neither name nor password was said, in any form; no mail was taken."""
    bad = BAD[what]

    async def test() -> None:
        office = Office(tmp_path)
        good: Any = ScriptedPop3([("a", message(1))], capabilities=bad.capabilities or _CAPA)
        if bad.protocol == "imap":
            good = ScriptedImap({1: message(1)}, capabilities=bad.capabilities or _IMAP)
        at = bad.at
        if bad.protocol == "imap" and not at:  # a greeting, and then the server as it is
            good.answers["greeting"], at = bad.head, b"no such line"
        async with good:
            rest = b"\x15\x03\x01 no TLS\r\n" * 20 if "garbage" in what else b""
            async with Meddler(good.port, at, bad.head, rest, 0.05) as meddler:
                [result] = await office.collect(pop3(meddler.port, protocol=bad.protocol, tls=bad.tls))
                assert not result.is_ok and bad.words in result.tell(), result.tell()
                said = b" ".join(meddler.heard)
        assert not [secret for secret in _SECRETS if secret in said], said
        assert not office.taken and "secret" not in str(office.log.events)

    run(test)


_EVIL: Final = "anna\r\nDELE 1\r\nC9 EXPUNGE"


@pytest.mark.parametrize(
    ("protocol", "changes"),
    [
        ("pop3", {"username": _EVIL}),
        ("imap", {"username": _EVIL}),
        ("imap", {"folder": _EVIL}),
        ("imap", {"username": 'anna" "x'}),
    ],
)
def test_a_name_is_no_command(tmp_path: Path, protocol: str, changes: dict[str, str]) -> None:
    """Whatever stands in a setting, it goes to the server as one argument of one command, or not at all."""

    async def test() -> None:
        office = Office(tmp_path)
        good: Any = ScriptedPop3([("a", message(1))])
        if protocol == "imap":
            good = ScriptedImap({1: message(1)}, answers={"SELECT": b"TAG NO no such folder\r\n"})
            good.answers["LOGIN"] = b"TAG NO who\r\n" if "username" in changes else b"TAG OK\r\n"
        async with good, Meddler(good.port, b"no such line") as meddler:
            await office.collect(pop3(meddler.port, protocol=protocol, **changes))
        said = [line.strip() for line in meddler.heard]
        assert said and not [line for line in said if line.startswith((b"DELE", b"C9"))], said
        if protocol == "pop3":
            assert good.messages

    run(test)
