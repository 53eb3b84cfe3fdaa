"""The certificate that we show to clients: where its file is, and what stands in it. It blocks."""

import os
import ssl
from dataclasses import dataclass

from cmail.admin.certificates import Certificate, read_certificate
from cmail.net.tls import OWN_CERTIFICATE


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """None: `trouble` says why it cannot be read, in words."""

    path: str
    certificate: Certificate | None = None
    trouble: str = ""


def own_certificate(data_dir: str, certificate_file: str) -> OwnCertificate:
    """The one of the settings, else that which we have made."""
    path = certificate_file or os.path.join(data_dir, OWN_CERTIFICATE)
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            pem = file.read(1 << 20)
        return OwnCertificate(path, read_certificate(_first(pem)))
    except OSError as error:
        return OwnCertificate(path, trouble=(error.strerror or str(error)).lower())
    except ValueError:
        return OwnCertificate(path, trouble="this is no certificate")


def _first(pem: str) -> bytes:
    """The certificate itself stands before those that vouch for it."""
    _, begin, rest = pem.partition(ssl.PEM_HEADER)
    body, end, _ = rest.partition(ssl.PEM_FOOTER)
    return ssl.PEM_cert_to_DER_cert(f"{begin}{body}{end}")
