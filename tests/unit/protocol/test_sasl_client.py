"""Logging in as a client: against another implementation's server, and against servers that lie."""

import base64
import hashlib
import hmac
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramMechanism

from cmail.protocol.sasl_client import Credentials, SaslError, choose_mechanism, exchange

# RFC 7677 §3.
NONCE = "rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_scram_says_what_the_rfc_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of RFC 7677 §3, octet for octet."""
    monkeypatch.setattr(secrets, "token_urlsafe", lambda count: NONCE)
    steps = exchange("SCRAM-SHA-256", Credentials("user", "pencil"))
    assert next(steps) == b"n,,n=user,r=" + NONCE.encode()
    assert steps.send(SERVER_FIRST) == CLIENT_FINAL
    assert steps.send(SERVER_FINAL) == b""


@pytest.mark.parametrize("name", ["user", "a=b,c", "jürgen@example.org", "\u2168"])
@pytest.mark.parametrize("password", ["pencil", "p\u00e4ss w=r,d", "I\u00adX"])
def test_scram_logs_in_at_another_implementation(name: str, password: str) -> None:
    """Names and passwords with commas, signs and letters beyond ASCII, as scramp's server reads them."""
    mechanism = ScramMechanism("SCRAM-SHA-256")
    info = mechanism.make_auth_info(password, iteration_count=4096)
    server = mechanism.make_server(lambda user: info)
    steps = exchange("SCRAM-SHA-256", Credentials(name, password))
    first = next(steps)
    assert first is not None
    server.set_client_first(first.decode())
    final = steps.send(server.get_server_first().encode())
    assert final is not None
    server.set_client_final(final.decode())
    assert steps.send(server.get_server_final().encode()) == b""


@pytest.mark.parametrize(
    ("name", "server_first"),
    [
        ("nonce not ours", b"r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
        ("nonce without the server's part", b"r=" + NONCE.encode() + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
        ("salt is not base64", b"r=" + NONCE.encode() + b"x,s=!!,i=4096"),
        ("no rounds", b"r=" + NONCE.encode() + b"x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0"),
        ("rounds without end", b"r=" + NONCE.encode() + b"x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999"),
        ("rounds are words", b"r=" + NONCE.encode() + b"x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=many"),
        ("extension that must be known", b"m=x," + SERVER_FIRST),
        ("nothing", b""),
        ("an error", b"e=unknown-user"),
    ],
)  # fmt: skip
def test_scram_stops_at_a_server_that_is_none(
    monkeypatch: pytest.MonkeyPatch, name: str, server_first: bytes
) -> None:
    """Each is a SaslError that holds no secret."""
    monkeypatch.setattr(secrets, "token_urlsafe", lambda count: NONCE)
    steps = exchange("SCRAM-SHA-256", Credentials("user", "pencil"))
    next(steps)
    with pytest.raises(SaslError) as caught:
        steps.send(server_first)
    assert "pencil" not in str(caught.value), name


@pytest.mark.parametrize("final", [b"", b"v=AAAA", b"e=other-error", SERVER_FINAL[:-2]])
def test_server_that_does_not_know_the_password_is_found_out(
    monkeypatch: pytest.MonkeyPatch, final: bytes
) -> None:
    """SCRAM is mutual: who cannot sign is not our server."""
    monkeypatch.setattr(secrets, "token_urlsafe", lambda count: NONCE)
    steps = exchange("SCRAM-SHA-256", Credentials("user", "pencil"))
    next(steps)
    steps.send(SERVER_FIRST)
    with pytest.raises(SaslError):
        steps.send(final)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_no_challenge_breaks_scram(first: bytes, final: bytes) -> None:
    """Whatever the server says, it is a SaslError or the next step."""
    steps = exchange("SCRAM-SHA-256", Credentials("user", "pencil"))
    next(steps)
    with pytest.raises(SaslError):
        steps.send(first)
        steps.send(final)


def test_plain_and_login_say_what_they_say() -> None:
    """RFC 4616 §2, and the two answers of LOGIN; a server that asks on is stopped."""
    credentials = Credentials("ann", "s3cret")
    plain = exchange("PLAIN", credentials)
    assert next(plain) == b"\0ann\0s3cret"
    with pytest.raises(SaslError):
        plain.send(b"more?")
    login = exchange("LOGIN", credentials)
    assert [next(login), login.send(b"Username:"), login.send(b"Password:")] == [None, b"ann", b"s3cret"]
    with pytest.raises(SaslError):
        login.send(b"more?")
    with pytest.raises(SaslError):
        next(exchange("PLAIN", Credentials("a\0b", "x")))
    assert "s3cret" not in repr(credentials)


@pytest.mark.parametrize(
    ("offered", "is_safe", "expected"),
    [
        (("PLAIN", "LOGIN", "SCRAM-SHA-256"), True, "SCRAM-SHA-256"),
        (("LOGIN", "PLAIN"), True, "PLAIN"),
        (("LOGIN",), True, "LOGIN"),
        (("PLAIN", "LOGIN"), False, None),
        (("PLAIN", "SCRAM-SHA-256"), False, "SCRAM-SHA-256"),
        ((), True, None),
        (("CRAM-MD5", "LOGIN"), True, "LOGIN"),
        (("PLAIN", "CRAM-MD5"), False, "CRAM-MD5"),
        (("DIGEST-MD5",), True, None),
    ],
)
def test_password_is_shown_only_on_a_safe_line(
    offered: tuple[str, ...], is_safe: bool, expected: str | None
) -> None:
    """Without encryption SCRAM, or a digest of it, or nothing."""
    assert choose_mechanism(offered, is_safe) == expected


def test_proof_depends_on_the_password() -> None:
    """The oracle above would pass for a server that takes anything; this one checks by hand."""
    steps = exchange("SCRAM-SHA-256", Credentials("user", "pencil"))
    first = next(steps)
    assert first is not None
    nonce = first.rpartition(b"r=")[2] + b"server"
    server_first = b"r=" + nonce + b",s=c2FsdA==,i=1000"
    final = steps.send(server_first)
    assert final is not None
    without_proof, _, proof = final.rpartition(b",p=")
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", b"salt", 1000)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    said = b",".join((first[3:], server_first, without_proof))
    signature = hmac.digest(hashlib.sha256(client_key).digest(), said, "sha256")
    assert bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True)) == client_key
