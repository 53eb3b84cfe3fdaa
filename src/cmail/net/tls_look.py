"""Looks at the certificate that a mail server shows, and hears what a client that verifies it says."""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Final

from cmail.net.tls_client import client_context

LINE_MAX: Final = 2048
LINES_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate (DER). `refusal`: why a client that verifies does not trust it; "" when it does."""

    der: bytes
    refusal: str


class NoTlsError(Exception):
    """The server does not do TLS there; says why."""


async def shown_by(host: str, port: int, name: str, ca_file: str, *, is_implicit: bool) -> Shown:
    """Ask a listener twice: as who takes any certificate, and as who verifies it for `name`. OSError,
    NoTlsError: nothing can be seen."""
    der = await _shake_hands(host, port, name, client_context("", is_verified=False), is_implicit)
    context = await asyncio.to_thread(client_context, ca_file, is_verified=True)
    try:
        await _shake_hands(host, port, name, context, is_implicit)
    except ssl.SSLCertVerificationError as error:
        return Shown(der, error.verify_message)
    except ssl.SSLError as error:
        return Shown(der, error.reason or str(error))
    return Shown(der, "")


async def names_somebody_else(host: str, port: int, name: str, ca_file: str, *, is_implicit: bool) -> str:
    """Whom the certificate of a listener is for, when that is not `name`; "" when it is, or when nobody can
    tell. OSError, NoTlsError: nothing can be seen."""
    context = await asyncio.to_thread(client_context, ca_file, is_verified=True)
    try:
        await _shake_hands(host, port, name, context, is_implicit)
    except ssl.SSLCertVerificationError:
        der = await _shake_hands(host, port, name, client_context("", is_verified=False), is_implicit)
        names = await asyncio.to_thread(_names, der)
        return "" if not names or any(_is_for(pattern, name) for pattern in names) else names[0]
    return ""


def _names(der: bytes) -> list[str]:
    """The names in a certificate: its alternative names, else its common name, in lower case."""
    from cryptography import x509  # late: hardly anybody comes here

    try:
        found = x509.load_der_x509_certificate(der)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        texts = names.get_values_for_type(x509.DNSName)
        texts += [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        common = found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        texts = [str(each.value) for each in common]
    except ValueError:
        return []
    return ["".join(c if c.isprintable() else "?" for c in text.lower())[:200] for text in texts]


def _is_for(pattern: str, name: str) -> bool:
    """A wildcard stands for the first label alone."""
    name = name.lower().rstrip(".")
    if pattern.startswith("*."):
        return name.partition(".")[2] == pattern[2:]
    return name == pattern


async def _shake_hands(host: str, port: int, name: str, context: ssl.SSLContext, is_implicit: bool) -> bytes:
    """The certificate (DER) of a handshake that succeeded."""
    tls = {"ssl": context, "server_hostname": name} if is_implicit else {}
    reader, writer = await asyncio.open_connection(host, port, limit=LINE_MAX, **tls)  # type: ignore[arg-type]
    try:
        if not is_implicit:
            await _reply(reader, "220")
            for command, code in ((f"EHLO {name}", "250"), ("STARTTLS", "220")):
                writer.write(command.encode("ascii", "replace") + b"\r\n")
                await _reply(reader, code)
            await writer.start_tls(context, server_hostname=name)
        found: ssl.SSLObject = writer.get_extra_info("ssl_object")
        return found.getpeercert(binary_form=True) or b""
    finally:
        writer.close()


async def _reply(reader: asyncio.StreamReader, code: str) -> None:
    for _ in range(LINES_MAX):
        try:
            line = (await reader.readline()).decode("utf-8", "replace").rstrip()
        except ValueError:
            break
        if not line.startswith(code):
            raise NoTlsError(line[:200] or "the connection was closed")
        if line[3:4] != "-":
            return
    raise NoTlsError("its reply does not end")
