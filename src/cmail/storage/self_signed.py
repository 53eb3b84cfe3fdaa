"""The certificate that we make ourselves at the first start, so that TLS always works."""

import os
import re
import ssl
import time
import traceback
from typing import Final

from cmail.storage import durable

FOLDER: Final = "tls"
CERTIFICATE: Final = "certificate.pem"
KEY: Final = "key.pem"
LIFETIME_DAYS: Final = 3650  # nobody checks it, and nobody wants to think of it again
RENEW_DAYS: Final = 30  # before it ends
_DAY_S: Final = 86400
# A clock that shows an earlier time than this program's own is wrong (a board without a battery wakes up
# in 1970): the certificate is made for the time that it will be when somebody has set it.
_NOT_BEFORE_US_S: Final = 1_767_225_600  # 2026-01-01
_TIME: Final = re.compile(rb"\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z")  # in DER; RFC 5280 §4.1.2.5


class CertificateError(Exception):
    """It could not be made or written."""


def ensure_certificate(data_dir: str, hostname: str) -> bool:
    """Make DATA/tls/ with a key and a certificate for the host name unless both are there and their time
    is now (they may have been made by a wrong clock); whether it made them. It blocks. The work is done in
    a child: the library for it takes 17 MB that everybody forked from us later would have too."""
    folder = os.path.join(data_dir, FOLDER)
    if os.path.exists(os.path.join(folder, KEY)) and _is_its_time(os.path.join(folder, CERTIFICATE)):
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


def _is_its_time(certificate: str) -> bool:
    """Whether our certificate holds today and for some days more. What cannot be read is left as it is:
    somebody has put it there, and who loads it says what is wrong with it."""
    try:
        with open(certificate, encoding="ascii") as file:
            found: list[tuple[bytes, bytes]] = _TIME.findall(ssl.PEM_cert_to_DER_cert(file.read()))
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    if len(found) < 2:
        return True
    begin, end = (full or (b"19" if short >= b"5" else b"20") + short for short, full in found[:2])
    now = time.time()
    if now < _NOT_BEFORE_US_S:
        return True  # nobody knows
    return begin <= _printed(now) and _printed(now + RENEW_DAYS * _DAY_S) <= end


def _printed(time_s: float) -> bytes:
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(time_s)).encode()


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
    now = datetime.fromtimestamp(max(time.time(), _NOT_BEFORE_US_S), UTC)
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
