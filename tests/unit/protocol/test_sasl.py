"""SASL as a server: PLAIN, LOGIN, SCRAM-SHA-256; also against a SCRAM client that we did not write."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramClient, ScramException

from cmail.protocol.sasl import (
    MECHANISMS,
    Challenge,
    CheckPassword,
    Failure,
    SaslServer,
    ScramKeys,
    Step,
    Success,
    start,
)
from cmail.protocol.saslprep import prepare
from cmail.storage.passwords import make_credential, nobodys_keys

KEYS = make_credential("anna@example.org", "pencil").keys


class Keys:
    """Knows anna (by her bare name too) and makes up all others; says 'not now' to busy."""

    def scram_keys(self, username: str) -> ScramKeys | None:
        if username == "busy":
            return None
        is_anna = username in ("anna", "anna@example.org")
        return KEYS if is_anna else nobodys_keys(username, b"secret")


def server(name: str) -> SaslServer:
    machine = start(name, Keys(), lambda: "server")
    assert machine is not None
    return machine


PLAIN: list[tuple[str, bytes, object]] = [
    ("a log-in", b"\0anna\0pencil", CheckPassword("anna", "pencil")),
    ("as oneself", b"Anna\0anna\0pencil", CheckPassword("anna", "pencil")),
    ("UTF-8", "\0änne\0bücher".encode(), CheckPassword("änne", "bücher")),
    ("another form of the same letters", "\0a\u0308nne\0x".encode(), CheckPassword("änne", "x")),
    ("as somebody else", b"bob\0anna\0pencil", "somebody else"),
    ("no parts", b"anna", "not what"),
    ("two parts", b"anna\0pencil", "not what"),
    ("NUL in the password", b"\0anna\0pen\0cil", "not what"),
    ("CR in the name", b"\0an\rna\0pencil", "not what"),
    ("empty name", b"\0\0pencil", "not what"),
    ("empty password", b"\0anna\0", "not what"),
    ("not UTF-8", b"\0anna\0\xff", "not what"),
    ("a very long password", b"\0anna\0" + b"x" * 1025, "not what"),
    ("a very long name", b"\0" + b"x" * 513 + b"\0x", "not what"),
    ("nothing", b"", "not what"),
]


@pytest.mark.parametrize(("response", "expected"), [row[1:] for row in PLAIN], ids=[r[0] for r in PLAIN])
def test_plain(response: bytes, expected: object) -> None:
    """One response says it all, and whatever is wrong with it is a Failure (RFC 4616)."""
    step = server("plain").next(response)
    if isinstance(expected, str):
        assert isinstance(step, Failure)
        assert expected in step.reason
    else:
        assert step == expected


def test_plain_without_initial_response() -> None:
    """An empty challenge asks for it; after the end there is only Failure."""
    machine = server("PLAIN")
    assert machine.next(None) == Challenge(b"")
    assert machine.next(b"\0anna\0pencil") == CheckPassword("anna", "pencil")
    assert isinstance(machine.next(b"\0anna\0pencil"), Failure)


@pytest.mark.parametrize("is_name_given", [True, False])
def test_login(is_name_given: bool) -> None:
    """The name comes with the command or is asked for, then the password."""
    machine = server("LOGIN")
    if not is_name_given:
        assert machine.next(None) == Challenge(b"Username:")
    assert machine.next(b"anna") == Challenge(b"Password:")
    assert machine.next(b"pencil") == CheckPassword("anna", "pencil")
    assert isinstance(machine.next(b"x"), Failure)


def converse(machine: SaslServer, username: str, password: str) -> Step:
    client = ScramClient(["SCRAM-SHA-256"], username, password)
    first = machine.next(client.get_client_first().encode())
    if not isinstance(first, Challenge):
        return first
    client.set_server_first(first.octets.decode())
    last = machine.next(client.get_client_final().encode())
    if not isinstance(last, Challenge):
        return last
    client.set_server_final(last.octets.decode())  # the client finds that we know the password too
    return machine.next(b"")


LOGINS: list[tuple[str, str, str, Step]] = [
    ("right", "anna@example.org", "pencil", Success("anna@example.org")),
    ("a bare name", "anna", "pencil", Success("anna@example.org")),
    ("wrong", "anna", "pen", Failure("authentication failure", "anna@example.org")),
    ("nobody", "carl", "pencil", Failure("authentication failure", "carl")),
    ("a comma in the name", "a,b=c", "pencil", Failure("authentication failure", "a,b=c")),
    ("not now", "busy", "x", Failure("too many tries or too busy", "busy", is_temporary=True)),
]


@pytest.mark.parametrize(
    ("username", "password", "expected"), [row[1:] for row in LOGINS], ids=[r[0] for r in LOGINS]
)
def test_scram_with_another_client(username: str, password: str, expected: Step) -> None:
    """A SCRAM client that is not ours gets in with the right password, and knows that we have it."""
    assert converse(server("SCRAM-SHA-256"), username, password) == expected


def test_scram_of_the_standards_example() -> None:
    """The conversation of RFC 7677 §3, octet for octet."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    stored = base64.b64decode("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=")
    serving = base64.b64decode("wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")

    class Example:
        def scram_keys(self, username: str) -> ScramKeys:
            return ScramKeys(username, salt, 4096, stored, serving)

    machine = start("SCRAM-SHA-256", Example(), lambda: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    assert machine is not None
    nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    first = machine.next(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    assert first == Challenge(b"r=" + nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    final = b"c=biws,r=" + nonce + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert machine.next(final) == Challenge(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert machine.next(b"") == Success("user")


FIRST = [
    ("channel binding, which we do not offer", b"p=tls-unique,,n=anna,r=x"),
    ("as somebody else", b"n,a=bob,n=anna,r=x"),
    ("an extension that must be known", b"n,,m=x,n=anna,r=x"),
    ("no nonce", b"n,,n=anna,r="),
    ("no name", b"n,,n=,r=x"),
    ("a bad escape", b"n,,n=a=2Dx,r=x"),
    ("NUL in the name", b"n,,n=a\0b,r=x"),
    ("a blank in the nonce", b"n,,n=anna,r=x y"),
    ("far too long", b"n,,n=anna,r=" + b"x" * 5000),
    ("empty", b""),
]
FINAL = [
    ("another nonce", b"c=biws,r=other,p=" + base64.b64encode(bytes(32))),
    ("another header", b"c=eSws,r=xserver,p=" + base64.b64encode(bytes(32))),
    ("a short proof", b"c=biws,r=xserver,p=AAAA"),
    ("a proof of nothing", b"c=biws,r=xserver,p=" + base64.b64encode(bytes(32))),
    ("no proof", b"c=biws,r=xserver"),
    ("not base64", b"c=biws,r=xserver,p=!!!!"),
    ("empty", b""),
]


@pytest.mark.parametrize("message", [row[1] for row in FIRST], ids=[row[0] for row in FIRST])
def test_scram_refuses_a_bad_beginning(message: bytes) -> None:
    """What is not client-first is a Failure, and nothing comes after it."""
    machine = server("SCRAM-SHA-256")
    assert isinstance(machine.next(message), Failure)
    assert isinstance(machine.next(b"n,,n=anna,r=x"), Failure)


@pytest.mark.parametrize("message", [row[1] for row in FINAL], ids=[row[0] for row in FINAL])
def test_scram_refuses_a_bad_end(message: bytes) -> None:
    """What does not prove the password is a Failure, and a second try is none."""
    machine = server("SCRAM-SHA-256")
    assert isinstance(machine.next(b"n,,n=anna,r=x"), Challenge)
    assert isinstance(machine.next(message), Failure)
    assert isinstance(machine.next(message), Failure)


PROVEN: list[tuple[str, bytes, bool]] = [
    ("as it should be", b"c=biws,r=xserver", True),
    ("with an extension", b"c=biws,r=xserver,z=1", True),
    ("another nonce", b"c=biws,r=xother", False),
    ("another header: somebody has taken channel binding out", b"c=eSws,r=xserver", False),
]


@pytest.mark.parametrize(("said", "is_good"), [row[1:] for row in PROVEN], ids=[r[0] for r in PROVEN])
def test_a_right_proof_does_not_excuse_the_rest(said: bytes, is_good: bool) -> None:
    """Who knows the password and still sends another nonce or header than before is not let in."""
    machine = server("SCRAM-SHA-256")
    first = machine.next(b"n,,n=anna,r=x")
    assert isinstance(first, Challenge)
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", KEYS.salt, KEYS.iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    message = b"n=anna,r=x," + first.octets + b"," + said
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    step = machine.next(said + b",p=" + base64.b64encode(proof))
    assert isinstance(step, Challenge if is_good else Failure)


def test_scram_may_name_the_same_twice() -> None:
    """An authzid equal to the name is no other person."""
    assert isinstance(server("SCRAM-SHA-256").next(b"n,a=anna,n=anna,r=x"), Challenge)


def test_a_stranger_looks_like_a_user() -> None:
    """Asked twice, a name that nobody has shows one salt, as a user's does, and as many iterations."""
    answers = {server("SCRAM-SHA-256").next(b"n,,n=carl,r=x") for _ in range(2)}
    assert len(answers) == 1
    (answer,) = answers
    assert isinstance(answer, Challenge)
    assert b",i=%d" % KEYS.iterations in answer.octets


@given(st.sampled_from(MECHANISMS), st.lists(st.none() | st.binary(max_size=80), max_size=5))
def test_no_input_raises(name: str, responses: list[bytes | None]) -> None:
    """Whatever octets come in whatever order: a step, never an exception, never a Success."""
    machine = server(name)
    for response in responses:
        assert isinstance(machine.next(response), Challenge | CheckPassword | Failure)


def test_unknown_mechanisms() -> None:
    """What we don't have is None, whatever its case."""
    assert start("CRAM-MD5", Keys()) is None
    assert start("scram-sha-256", Keys()) is not None


def test_no_secret_in_a_trace() -> None:
    """A repr shows neither password nor keys."""
    assert "pencil" not in repr(CheckPassword("anna", "pencil"))
    assert repr(KEYS) == "ScramKeys(username='anna@example.org')"


PREPARED = [
    ("plain", "Anna", "Anna"),
    ("soft hyphen goes", "I\u00adX", "IX"),
    ("compatibility forms", "\u2168", "IX"),
    ("another blank", "a\u00a0b", "a b"),
    ("control character", "a\x07b", None),
    ("nothing left", "\u00ad", None),
    ("empty", "", None),
]


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in PREPARED], ids=[r[0] for r in PREPARED])
def test_saslprep(text: str, expected: str | None) -> None:
    """The examples of RFC 4013 §3, and what is forbidden."""
    assert prepare(text) == expected


def test_a_client_notices_a_server_that_does_not_know_the_password() -> None:
    """Our proof is of the right key: a forged one makes the other client raise."""
    machine = server("SCRAM-SHA-256")
    client = ScramClient(["SCRAM-SHA-256"], "anna", "pencil")
    first = machine.next(client.get_client_first().encode())
    assert isinstance(first, Challenge)
    client.set_server_first(first.octets.decode())
    client.get_client_final()
    with pytest.raises(ScramException):
        client.set_server_final("v=" + base64.b64encode(bytes(32)).decode())
