"""What a person is told of a certificate: names, who vouches for it, days."""

import ssl
from pathlib import Path

import pytest

from cmail.admin.certificates import DAY_MS, Certificate, certificate_of, read_certificate
from cmail.net.settings import TlsSettings
from cmail.net.tls import server_context
from cmail.storage.self_signed import ensure_certificate


def test_the_certificate_that_clients_are_shown_is_read_from_the_context(tmp_path: Path) -> None:
    """No file is read: the context alone says what is in use. It is the one of the file all the same."""
    ensure_certificate(str(tmp_path), "mail.example.org")
    context = server_context(TlsSettings(), str(tmp_path))
    pem = (tmp_path / "tls" / "certificate.pem").read_text()
    for path in (tmp_path / "tls").iterdir():
        path.unlink()
    found = certificate_of(context)
    assert found == read_certificate(ssl.PEM_cert_to_DER_cert(pem))
    assert found is not None
    assert found.names == ("mail.example.org", "localhost")
    assert found.is_self_signed
    assert 3600 < found.days_left() < 3651


def test_a_context_without_a_certificate_has_none() -> None:
    """Nothing is shown, and nothing goes wrong."""
    assert certificate_of(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) is None


@pytest.mark.parametrize(
    ("host", "is_for"),
    [
        ("mail.example.org", True),
        ("MAIL.example.org.", True),
        ("a.b.example.net", False),
        ("a.example.net", True),
        ("example.net", False),
        ("org", False),
        ("192.0.2.1", True),
    ],
)
def test_a_star_stands_for_one_label(host: str, is_for: bool) -> None:
    """As clients match it."""
    names = ("mail.example.org", "*.example.net", "192.0.2.1")
    assert Certificate(names, "", "", 0, 0, False).is_for(host) is is_for


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (2.5, "holds 2 days more"),
        (1.1, "holds 1 day more"),
        (-2.5, "ended 2 days ago"),
        (-0.5, "ended today"),
    ],
)
def test_days_are_said_in_words(days: float, words: str) -> None:
    """Before its end and behind it."""
    import time

    end_ms = time.time_ns() // 1_000_000 + int(days * DAY_MS) + 1000
    assert Certificate((), "", "", 0, end_ms, False).days_words == words
