"""Certificate: what a person wants to know of one: whom it is for, who vouches for it, how long it holds."""

import ssl
import time
from dataclasses import dataclass
from typing import Any, Final

DAY_MS: Final = 86_400_000
SOON_DAYS: Final = 14  # whoever renews by machine does it a month before the end
_NAMES_SHOWN: Final = 5
_ROUNDS_MAX: Final = 10  # a handshake needs three


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate, without its chain."""

    names: tuple[str, ...]  # hosts and addresses that it is for
    subject: str
    issuer: str
    not_before_ms: int
    not_after_ms: int
    is_self_signed: bool

    def days_left(self, now_ms: int | None = None) -> int:
        """Whole days; negative when it is over."""
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        return (self.not_after_ms - now_ms) // DAY_MS

    def is_for(self, host: str) -> bool:
        """Whether a client that asks for the host takes it: a star stands for one label."""
        wanted = host.lower().removesuffix(".")
        parent = wanted.partition(".")[2]
        return any(name in (wanted, f"*.{parent}" if parent else wanted) for name in self.names)

    @property
    def names_words(self) -> str:
        """Its names; the first of many."""
        shown = ", ".join(self.names[:_NAMES_SHOWN]) or self.subject or "nobody"
        more = len(self.names) - _NAMES_SHOWN
        return f"{shown} and {more} more" if more > 0 else shown

    @property
    def days_words(self) -> str:
        """How long it still holds."""
        days = self.days_left()
        if days < 0:
            gone = -days - 1
            return f"ended {gone} day{'s' * (gone != 1)} ago" if gone else "ended today"
        return f"holds {days} day{'s' * (days != 1)} more"


def read_certificate(der: bytes) -> Certificate:
    """From DER; ValueError when it is none."""
    from cryptography import x509  # 17 MB: for who looks at one
    from cryptography.x509.oid import NameOID

    found = x509.load_der_x509_certificate(der)

    def name(of: x509.Name) -> str:
        for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
            for attribute in of.get_attributes_for_oid(kind):
                return attribute.value if isinstance(attribute.value, str) else repr(attribute.value)
        return of.rfc4514_string()

    organisation = found.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    issuer = name(found.issuer)
    if organisation and organisation[0].value != issuer:
        issuer = f"{organisation[0].value!s} ({issuer})"
    return Certificate(
        _names(found),
        name(found.subject),
        issuer,
        int(found.not_valid_before_utc.timestamp() * 1000),
        int(found.not_valid_after_utc.timestamp() * 1000),
        found.issuer == found.subject,
    )


def _names(found: Any) -> tuple[str, ...]:
    from cryptography import x509

    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):  # none, or an extension that is no good
        return ()
    hosts = names.get_values_for_type(x509.DNSName)
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*(str(host).lower() for host in hosts), *(str(address) for address in addresses))


def certificate_of(context: ssl.SSLContext) -> Certificate | None:
    """The one that a server's context shows to clients: asked by a handshake in memory, because its file
    may be one that only root can read. None when there is none."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_ROUNDS_MAX):
        try:
            if _is_shaken(client):
                der = client.getpeercert(binary_form=True)
                return read_certificate(der) if der else None
            _is_shaken(server)
        except (ssl.SSLError, ValueError):
            return None
    return None


def _is_shaken(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
