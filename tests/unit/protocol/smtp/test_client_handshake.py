"""The handshake as a conversation: what is said, in which order, and where it stops."""

import base64

import pytest

from cmail.protocol.sasl_client import Credentials
from cmail.protocol.smtp.client_handshake import (
    Acquaintance,
    HandshakeError,
    Manners,
    StartTls,
    handshake,
)
from cmail.protocol.smtp.client_offers import Offers

ANN = Credentials("ann", "s3cret")
PLAIN = base64.b64encode(b"\0ann\0s3cret").decode()


def converse(manners: Manners, replies: list[str]) -> tuple[list[str], Offers | str]:
    """What is said, and the offers or why it stopped."""
    conversation = handshake(manners)
    said: list[str] = []
    step = next(conversation)
    queue = iter(replies)
    while True:
        if isinstance(step, StartTls):
            said.append("TLS")
            reply = b""
        else:
            said.append(step.octets.decode().removesuffix("\r\n"))
            reply = next(queue).encode()
        try:
            step = conversation.send(reply)
        except StopIteration as stop:
            assert isinstance(stop.value, Offers)
            return said[1:], stop.value
        except HandshakeError as error:
            assert "s3cret" not in error.reason
            return said[1:], error.reason


CASES = [
    ("EHLO", Manners("me"), ["220 hi", "250 mx"], ["EHLO me"], Offers()),
    ("HELO", Manners("me"), ["220 hi", "502 what", "250 mx"], ["EHLO me", "HELO me"], Offers()),
    ("LHLO", Manners("me", is_lmtp=True), ["220 hi", "250-mx\n250 DSN"], ["LHLO me"], Offers(has_dsn=True)),
    ("LHLO refused", Manners("me", is_lmtp=True), ["220 hi", "500 no"], ["LHLO me"], "LHLO: 500 no"),
    ("greeting", Manners("me"), ["554 5.3.2 no"], [], "the greeting: 554 5.3.2 no"),
    ("greeting 3yz", Manners("me"), ["354 no"], [], "the greeting: 354 no"),
    (
        "STARTTLS forgets",
        Manners("me", "opportunistic"),
        ["220 hi", "250-mx\n250-DSN\n250 STARTTLS", "220 go", "250 mx"],
        ["EHLO me", "STARTTLS", "TLS", "EHLO me"],
        Offers(),
    ),
    (
        "STARTTLS refused, opportunistic",
        Manners("me", "opportunistic"),
        ["220 hi", "250-mx\n250 STARTTLS", "454 no"],
        ["EHLO me", "STARTTLS"],
        Offers(has_starttls=True),
    ),
    (
        "STARTTLS not offered, required",
        Manners("me", "required"),
        ["220 hi", "250 mx"],
        ["EHLO me"],
        "TLS is required and the server does not offer STARTTLS",
    ),
    (
        "TLS switched off",
        Manners("me", "none"),
        ["220 hi", "250-mx\n250 STARTTLS"],
        ["EHLO me"],
        Offers(has_starttls=True),
    ),
    (
        "AUTH PLAIN under TLS",
        Manners("me", credentials=ANN, is_encrypted=True),
        ["220 hi", "250-mx\n250 AUTH PLAIN", "235 ok"],
        ["EHLO me", f"AUTH PLAIN {PLAIN}"],
        Offers(mechanisms=("PLAIN",), has_auth=True),
    ),
    (
        "AUTH PLAIN in the clear",
        Manners("me", credentials=ANN),
        ["220 hi", "250-mx\n250 AUTH PLAIN"],
        ["EHLO me"],
        "the connection is not encrypted, so the password is not sent (the server offers PLAIN)",
    ),
    (
        "AUTH PLAIN to ourselves",
        Manners("me", credentials=ANN, is_loopback=True),
        ["220 hi", "250-mx\n250 AUTH PLAIN", "235 ok"],
        ["EHLO me", f"AUTH PLAIN {PLAIN}"],
        Offers(mechanisms=("PLAIN",), has_auth=True),
    ),
    (
        "AUTH not offered",
        Manners("me", credentials=ANN, is_encrypted=True),
        ["220 hi", "250 mx"],
        ["EHLO me"],
        "a user name is set and the server offers no log-in",
    ),
    (
        "AUTH refused",
        Manners("me", credentials=ANN, is_encrypted=True),
        ["220 hi", "250-mx\n250 AUTH PLAIN", "535 5.7.8 no"],
        ["EHLO me", f"AUTH PLAIN {PLAIN}"],
        "the log-in as ann: 535 5.7.8 no",
    ),
    (
        "LOGIN that asks in words",
        Manners("me", credentials=ANN, is_encrypted=True),
        ["220 hi", "250-mx\n250 AUTH LOGIN", "334 Username:", "334 UGFzc3dvcmQ6", "235 ok"],
        ["EHLO me", "AUTH LOGIN", "YW5u", "czNjcmV0"],
        Offers(mechanisms=("LOGIN",), has_auth=True),
    ),
    (
        "LOGIN that never ends",
        Manners("me", credentials=ANN, is_encrypted=True),
        ["220 hi", "250-mx\n250 AUTH LOGIN", "334 ", "334 ", "334 "],
        ["EHLO me", "AUTH LOGIN", "YW5u", "czNjcmV0"],
        "the log-in as ann: the server asks for more than LOGIN has to say",
    ),
]


@pytest.mark.parametrize(
    ("manners", "replies", "said", "end"), [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)
def test_handshake(manners: Manners, replies: list[str], said: list[str], end: Offers | str) -> None:
    """Each conversation says these lines and ends like this."""
    assert converse(manners, replies) == (said, end)


def test_long_initial_response_waits_for_its_challenge() -> None:
    """RFC 4954 §4: what does not fit on the AUTH line is sent after 334."""
    manners = Manners("me", credentials=Credentials("a" * 500, "s3cret"), is_encrypted=True)
    said, _ = converse(manners, ["220 hi", "250-mx\n250 AUTH PLAIN", "334 ", "235 ok"])
    assert said[1] == "AUTH PLAIN"
    assert base64.b64decode(said[2]) == b"\0" + b"a" * 500 + b"\0s3cret"


EARLY = "250-mx\n250 PIPECONNECT"
EARLY_TLS = "250-mx\n250-PIPECONNECT\n250 STARTTLS"
EARLY_AUTH = "250-mx\n250-PIPECONNECT\n250 AUTH PLAIN"


def known(*, has_starttls: bool = False, mechanisms: tuple[str, ...] = ()) -> Acquaintance:
    return Acquaintance(is_early=True, has_starttls=has_starttls, mechanisms=mechanisms)


AHEAD = [
    ("EHLO", Manners("me", known=known()), ["220 hi", EARLY], ["EHLO me", ""], ""),
    (
        "EHLO and STARTTLS",
        Manners("me", "required", known=known(has_starttls=True)),
        ["220 hi", EARLY_TLS, "220 go", EARLY],
        ["EHLO me\r\nSTARTTLS", "", "", "TLS", "EHLO me"],
        "",
    ),
    (
        "all of it",
        Manners("me", "required", ANN, known=known(has_starttls=True, mechanisms=("PLAIN",))),
        ["220 hi", EARLY_TLS, "220 go", EARLY_AUTH, "235 ok"],
        ["EHLO me\r\nSTARTTLS", "", "", "TLS", f"EHLO me\r\nAUTH PLAIN {PLAIN}", ""],
        "",
    ),
    (
        "implicit TLS",
        Manners("me", "none", ANN, is_encrypted=True, known=known(mechanisms=("PLAIN",))),
        ["220 hi", EARLY_AUTH, "235 ok"],
        [f"EHLO me\r\nAUTH PLAIN {PLAIN}", "", ""],
        "",
    ),
    (
        "no password in the clear",
        Manners("me", "none", ANN, known=known(mechanisms=("PLAIN",))),
        ["220 hi", EARLY_AUTH],
        ["EHLO me", ""],
        "the password is not sent",
    ),
    (
        "STARTTLS is gone",
        Manners("me", "opportunistic", known=known(has_starttls=True)),
        ["220 hi", EARLY],
        ["EHLO me\r\nSTARTTLS", ""],
        "STARTTLS is not offered any more",
    ),
    (
        "the log-in is another",
        Manners("me", "none", ANN, is_encrypted=True, known=known(mechanisms=("PLAIN",))),
        ["220 hi", "250-mx\n250 AUTH LOGIN"],
        [f"EHLO me\r\nAUTH PLAIN {PLAIN}", ""],
        "other ways than last time",
    ),
    (
        "it hates haste",
        Manners("me", known=known()),
        ["554 5.5.0 you speak too soon"],
        ["EHLO me"],
        "you speak too soon",
    ),
]


@pytest.mark.parametrize(
    ("manners", "replies", "said", "why"), [row[1:] for row in AHEAD], ids=[row[0] for row in AHEAD]
)
def test_what_is_said_ahead_of_its_turn(
    manners: Manners, replies: list[str], said: list[str], why: str
) -> None:
    """Round trips are saved where the host has said that it takes that; what is not as it was ends it."""
    conversation = handshake(manners)
    step = next(conversation)
    heard: list[str] = []
    queue = iter(replies)
    reason = ""
    try:
        while True:
            is_tls = isinstance(step, StartTls)
            heard.append("TLS" if isinstance(step, StartTls) else step.octets.decode().removesuffix("\r\n"))
            step = conversation.send(b"" if is_tls else next(queue).encode())
    except StopIteration:
        pass
    except HandshakeError as error:
        reason = error.reason
    assert heard == said and bool(reason) == bool(why) and why in reason and "s3cret" not in reason
    assert manners.known is not None and manners.known.is_tried


def test_nothing_is_sent_ahead_to_a_host_that_did_not_offer_it() -> None:
    """RFC 2920 §3.1: EHLO is the last command of a group; servers hang up on who does otherwise."""
    manners = Manners("me", "required", ANN, known=Acquaintance(has_starttls=True, mechanisms=("PLAIN",)))
    said, _ = converse(manners, ["220 hi", EARLY_TLS, "220 go", EARLY_AUTH, "235 ok"])
    assert said == ["EHLO me", "STARTTLS", "TLS", "EHLO me", f"AUTH PLAIN {PLAIN}"]
    assert manners.known == Acquaintance(is_early=True, has_starttls=True, mechanisms=("PLAIN",))
