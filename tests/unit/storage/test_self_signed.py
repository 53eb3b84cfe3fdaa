"""The certificate of our own: made once, usable, for its owner alone."""

import os
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from cmail.net.settings import TlsSettings
from cmail.net.tls import server_context
from cmail.storage.self_signed import CertificateError, ensure_certificate


def test_it_is_made_once_and_serves(tmp_path: Path) -> None:
    """The first start makes key and certificate, the second leaves them; a context takes them."""
    assert ensure_certificate(str(tmp_path), "mx.example.org")
    folder = tmp_path / "tls"
    before = (folder / "certificate.pem").read_bytes()
    assert not ensure_certificate(str(tmp_path), "other.example.org")
    assert (folder / "certificate.pem").read_bytes() == before
    assert stat.S_IMODE(os.stat(folder / "key.pem").st_mode) == 0o600
    names = x509.load_pem_x509_certificate(before).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["mx.example.org", "localhost"]
    assert isinstance(server_context(TlsSettings(), str(tmp_path)), ssl.SSLContext)


@pytest.mark.parametrize("hostname", ["localhost", "x" * 63 + "." + "y" * 63, "bücher.example"])
def test_host_names_of_any_kind(tmp_path: Path, hostname: str) -> None:
    """Long names and those of other scripts get a certificate too."""
    assert ensure_certificate(str(tmp_path), hostname)


def test_when_half_is_missing_both_are_made(tmp_path: Path) -> None:
    """After a crash between the two the next start repairs it."""
    ensure_certificate(str(tmp_path), "mx.example.org")
    (tmp_path / "tls" / "certificate.pem").unlink()
    assert ensure_certificate(str(tmp_path), "mx.example.org")
    server_context(TlsSettings(), str(tmp_path))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Where and why is said, and nothing of the child is left."""
    (tmp_path / "tls").write_text("a file")
    with pytest.raises(CertificateError, match=r"no certificate could be made in .*tls: "):
        ensure_certificate(str(tmp_path), "mx.example.org")
