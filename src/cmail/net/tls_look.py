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
