"""Certificates: until when the one that we show holds, and who has signed it. It blocks."""

import os
from dataclasses import dataclass

from cmail.net.tls import OWN_CERTIFICATE


@dataclass(frozen=True, slots=True)
class Certificate:
    """What stands in one. `trouble`: why it cannot be read, in words."""

    path: str
    ends_ms: int = 0
    names: tuple[str, ...] = ()
    is_self_signed: bool = False
    trouble: str = ""


def own_certificate(data_dir: str, certificate_file: str) -> Certificate:
    """The one of the settings, else that which we have made."""
    path = certificate_file or os.path.join(data_dir, OWN_CERTIFICATE)
    try:
        with open(path, "rb") as file:
            return _read(path, file.read(1 << 20))
    except OSError as error:
        return Certificate(path, trouble=(error.strerror or str(error)).lower())
    except ValueError:
        return Certificate(path, trouble="this is no certificate")


def _read(path: str, octets: bytes) -> Certificate:
    from cryptography import x509  # 17 MB: only who asks has them

    found = x509.load_pem_x509_certificate(octets)
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = tuple(names.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        hosts = ()
    ends_ms = int(found.not_valid_after_utc.timestamp() * 1000)
    return Certificate(path, ends_ms, hosts, found.issuer == found.subject)
