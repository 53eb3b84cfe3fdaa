"""Typed settings of the network floor: [tls] and [dns]."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """[tls]"""

    certificate_file: Annotated[str, "PEM; empty: self-signed, made at first start."] = ""
    key_file: Annotated[str, "PEM; may be readable by root only."] = ""
    ca_file: Annotated[str, "Whom we trust as a client; empty: the system's."] = ""


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """[dns]"""

    servers: Annotated[tuple[str, ...], 'Empty: the system\'s; "127.0.0.1:5353" or "192.0.2.1".'] = ()
