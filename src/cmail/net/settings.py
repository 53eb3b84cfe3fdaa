"""Typed settings of the network floor: [tls] and [dns]."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """[tls]: certificates"""

    certificate_file: Annotated[
        str,
        "The certificate with its chain, PEM. Empty: one that vouches for itself, made at the first start.",
    ] = ""
    key_file: Annotated[
        str, "The key of the certificate, PEM, without a password; only root needs to be able to read it."
    ] = ""
    ca_file: Annotated[
        str, "The authorities that we trust when we are the client, PEM. Empty: those of the system."
    ] = ""


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """[dns]: names of other machines"""

    servers: Annotated[
        tuple[str, ...],
        'The name servers to ask, such as "192.0.2.1" or "127.0.0.1:5353". Empty: those of the system.',
    ] = ()
