"""The certificate that we make ourselves at the first start, so that TLS always works."""

import os
import traceback
from typing import Final

from cmail.storage import durable

FOLDER: Final = "tls"
CERTIFICATE: Final = "certificate.pem"
KEY: Final = "key.pem"
LIFETIME_DAYS: Final = 3650  # nobody checks it, and nobody wants to think of it again


class CertificateError(Exception):
    """It could not be made or written."""


def ensure_certificate(data_dir: str, hostname: str) -> bool:
    """Make DATA/tls/ with a key and a certificate for the host name unless both are there; whether it
    made them. It blocks. The work is done in a child: the library for it takes 17 MB of memory that
    everybody forked from us later would have too."""
    folder = os.path.join(data_dir, FOLDER)
    if all(os.path.exists(os.path.join(folder, name)) for name in (CERTIFICATE, KEY)):
        return False
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        os.close(told)
        _be_the_child(folder, hostname, tell)
    os.close(tell)
    with os.fdopen(told, "rb") as words:
        said = words.read().decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    if status:
        raise CertificateError(f"no certificate could be made in {folder}: {said or status}")
    return True


def _be_the_child(folder: str, hostname: str, tell: int) -> None:
    """Never returns."""
    status = 1
    try:
        _make(folder, hostname)
        status = 0
    except OSError as error:
        os.write(tell, f"{error.strerror} ({error.filename})".encode())
    except BaseException:
        os.write(tell, traceback.format_exc(limit=-3).encode("utf-8", "replace")[:4000])
    finally:
        os._exit(status)


def _make(folder: str, hostname: str) -> None:
    """The key first: a certificate without its key would be taken for whole."""
    key, certificate = _new(hostname)
    durable.make_folder(folder)
    for name, octets, mode in ((KEY, key, 0o600), (CERTIFICATE, certificate, 0o644)):
        path = os.path.join(folder, name)
        durable.write_durably(path, octets, mode)
    if os.geteuid() == 0:  # it belongs to the owner of the data folder, as everything in it
        owner = os.stat(os.path.dirname(folder))
        for path in (folder, os.path.join(folder, KEY), os.path.join(folder, CERTIFICATE)):
            os.chown(path, owner.st_uid, owner.st_gid)


def _new(hostname: str) -> tuple[bytes, bytes]:
    """A key (ECDSA P-256: every client takes it, and its handshake costs least) and a certificate."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    now = datetime.now(UTC)
    names = [x509.DNSName(host) for host in dict.fromkeys((_ascii(hostname), "localhost"))]
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks of clients that are late
        .not_valid_after(now + timedelta(days=LIFETIME_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
    )
    no_password = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, pkcs8, no_password), certificate.public_bytes(pem)


def _ascii(hostname: str) -> str:
    """As it stands in DNS (RFC 5890)."""
    if hostname.isascii():
        return hostname
    import idna

    return idna.encode(hostname, uts46=True).decode()
