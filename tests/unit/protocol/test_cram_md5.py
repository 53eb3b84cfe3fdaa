"""CRAM-MD5 on both sides: the example of the RFC, who is let in, and answers that are none."""

import pytest

from cmail.protocol.cram_md5 import CramMd5
from cmail.protocol.sasl import Challenge, Failure, ScramKeys, Step, Success
from cmail.protocol.sasl_client import Credentials, SaslError, exchange
from cmail.storage.passwords import nobodys_keys

# RFC 2195 §2.
CHALLENGE = b"<1896.697170952@postoffice.reston.mci.net>"
RESPONSE = b"tim b913a602c7eda7a495b4e6e7334d3890"


class Keys:
    """A bare name is one of example.org; busy may not try now."""

    def scram_keys(self, username: str) -> ScramKeys | None:
        name = username if "@" in username else f"{username}@example.org"
        return None if username == "busy" else nobodys_keys(name, b"secret")


def server() -> CramMd5:
    """tim's password is known; he has been asked."""
    passwords = {"tim@example.org": "tanstaaftanstaaf"}
    machine = CramMd5(
        Keys(), lambda name: passwords.get(name, ""), "postoffice.reston.mci.net", lambda: "1896.697170952"
    )
    assert machine.next(None) == Challenge(CHALLENGE)
    return machine


def test_the_example_of_the_rfc() -> None:
    """RFC 2195 §2, octet for octet: the client says it, and the server lets it in."""
    steps = exchange("CRAM-MD5", Credentials("tim", "tanstaaftanstaaf"))
    assert next(steps) is None
    assert steps.send(CHALLENGE) == RESPONSE
    with pytest.raises(SaslError):
        steps.send(b"more?")
    assert server().next(RESPONSE) == Success("tim@example.org")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (RESPONSE.upper().replace(b"TIM", b"tim"), Success("tim@example.org")),
        (RESPONSE[:-1] + b"1", Failure("authentication failure", "tim@example.org")),
        (b"tim ", Failure("authentication failure", "tim@example.org")),
        (b"tom" + RESPONSE[3:], Failure("authentication failure", "tom@example.org")),
        (b"busy x", Failure("too many tries or too busy", "busy", is_temporary=True)),
        (b"tim", Failure("not what the mechanism asks for", is_malformed=True)),
        (b"", Failure("not what the mechanism asks for", is_malformed=True)),
        (None, Failure("not what the mechanism asks for", is_malformed=True)),
        (b"\xff x", Failure("not what the mechanism asks for", is_malformed=True)),
        (b"x" * 600 + b" y", Failure("not what the mechanism asks for", is_malformed=True)),
    ],
)
def test_who_is_let_in(response: bytes | None, expected: Step) -> None:
    """The right digest alone, in any case of its letters; nobody without a password, and nobody twice."""
    machine = server()
    assert machine.next(response) == expected
    assert machine.next(RESPONSE) == Failure("not what the mechanism asks for", is_malformed=True)


def test_the_server_speaks_first() -> None:
    """An answer to no challenge is none; each challenge is another."""
    machine = CramMd5(Keys(), lambda name: "x", "example.org")
    assert isinstance(machine.next(RESPONSE), Failure)
    challenges = {str(CramMd5(Keys(), lambda name: "x", "example.org").next(None)) for _ in range(3)}
    assert len(challenges) == 3


def test_a_server_without_a_challenge_gets_no_digest() -> None:
    """The digest of nothing would be good for ever."""
    steps = exchange("CRAM-MD5", Credentials("tim", "tanstaaftanstaaf"))
    next(steps)
    with pytest.raises(SaslError):
        steps.send(b"")
