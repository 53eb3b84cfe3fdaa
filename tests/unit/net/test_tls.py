"""TLS as a server: which certificate, what is wrong with it in words, and its renewal."""

import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from cmail.net.settings import TlsSettings
from cmail.net.tls import ServerTls, server_context
from cmail.settings import SettingError

CA = trustme.CA(key_type=trustme.KeyType.ECDSA)


def issue(folder: Path, name: str = "mx.example.org") -> TlsSettings:
    """A certificate and its key in files, by an authority that only this test trusts."""
    leaf = CA.issue_cert(name, key_type=trustme.KeyType.ECDSA)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    return TlsSettings(str(certificate), str(key))


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """The version of TLS that two contexts agree on."""
    one, two = socket.socketpair()
    one.settimeout(10)
    two.settimeout(10)

    def serve() -> None:
        try:
            with server.wrap_socket(one, server_side=True) as session:
                session.recv(1)
        except (ssl.SSLError, OSError):
            one.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(two, server_hostname=name) as session:
            session.send(b"x")
            return session.version()
    finally:
        two.close()
        thread.join()


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


def test_a_client_that_verifies_gets_in(tmp_path: Path) -> None:
    """The certificate of the settings is shown, with TLS 1.3 where the client has it, else 1.2."""
    context = server_context(issue(tmp_path), str(tmp_path))
    assert shake_hands(context, trusting(), "mx.example.org") == "TLSv1.3"
    old = trusting()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake_hands(context, old, "mx.example.org") == "TLSv1.2"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(tmp_path: Path) -> None:
    """Rule 20: TLS 1.1 finds nobody."""
    context = server_context(issue(tmp_path), str(tmp_path))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2  # also where OpenSSL would allow older ones
    ancient = trusting()
    ancient.set_ciphers("DEFAULT:@SECLEVEL=0")
    ancient.minimum_version = ssl.TLSVersion.TLSv1
    ancient.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        shake_hands(context, ancient, "mx.example.org")


def test_what_is_wrong_is_said_in_words(tmp_path: Path) -> None:
    """Each mistake with the two files names the key of the settings and what is wrong."""
    good = issue(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    foreign = issue(other)
    notes = tmp_path / "notes.pem"
    notes.write_text("buy milk")
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        load_pem_private_key(Path(good.key_file).read_bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
        )
    )
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    certificate = good.certificate_file
    cases = [
        (TlsSettings(certificate, foreign.key_file), r"tls\.key_file: the key in .* is not that of"),
        (TlsSettings(certificate, ""), r"tls\.key_file: there is no PEM key in"),
        (TlsSettings(certificate, str(notes)), r"tls\.key_file: there is no PEM key in"),
        (TlsSettings(str(notes), good.key_file), r"tls\.certificate_file: there is no PEM certificate"),
        (TlsSettings(str(broken), good.key_file), r"tls\.certificate_file: .* cannot be used"),
        (TlsSettings(certificate, str(locked)), r"tls\.key_file: .* asks for a password"),
        (TlsSettings("", good.key_file), r"tls\.certificate_file: a key is named, but no certificate"),
        (TlsSettings("/nowhere", "/nowhere"), r"tls\.certificate_file: .*'/nowhere' cannot be read: No such"),
        (TlsSettings(certificate, "/nowhere"), r"tls\.key_file: .*'/nowhere' cannot be read: No such"),
    ]
    for settings, words in cases:
        with pytest.raises(SettingError, match=words):
            server_context(settings, str(tmp_path))


def test_one_file_may_hold_both(tmp_path: Path) -> None:
    """A certificate file with the key in it needs no key_file."""
    good = issue(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(Path(good.certificate_file).read_bytes() + Path(good.key_file).read_bytes())
    assert shake_hands(server_context(TlsSettings(str(both)), ""), trusting(), "mx.example.org")


def test_a_renewed_certificate_is_shown_after_reload(tmp_path: Path) -> None:
    """reload() takes the new files; when they are no good it says so and the old ones stay."""
    tls = ServerTls(issue(tmp_path), str(tmp_path))
    renewed = issue(tmp_path, "mail.example.org")
    assert shake_hands(tls.context, trusting(), "mx.example.org")
    tls.reload(renewed)
    assert shake_hands(tls.context, trusting(), "mail.example.org")
    with pytest.raises(SettingError):
        tls.reload(TlsSettings("/nowhere"))
    assert shake_hands(tls.context, trusting(), "mail.example.org")
