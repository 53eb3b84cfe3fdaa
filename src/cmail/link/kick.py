"""The kick: tell the upstream server that we are on line, so that it sends what it keeps for us."""

import asyncio
from dataclasses import dataclass
from typing import Final

from cmail.delivery.settings import SmtpSettings
from cmail.world import DnsError, NoSuchDomainError, Resolver

ANSWER_OCTETS_MAX: Final = 16 * 1024  # a finger server that tells more tells nothing that we need
SHOWN_MAX: Final = 200  # of its answer, in the log and on the page
ADDRESSES_MAX: Final = 6  # tried one after the other
TIMEOUT_S: Final = 30.0  # all of it: by then either mail comes or it does not


@dataclass(frozen=True, slots=True)
class KickResult:
    """How a kick ended. Only mail that arrives proves that it worked."""

    is_sent: bool  # the text was taken by somebody
    words: str  # one line for people


async def kick_finger(host: str, port: int, text: str, timeout: float, resolver: Resolver) -> KickResult:
    """Connect, send the text and CRLF, read to the end (RFC 1288 §2.2); bounded in time and size."""
    if not text.isascii() or not text.isprintable():
        return KickResult(False, f"kick: {text!r} cannot be sent as one line")
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(timeout):
            return await _finger(host, port, text, where, resolver)
    except TimeoutError:
        return KickResult(False, f"kick: {where} did not answer in {timeout:.0f} s")


async def _finger(host: str, port: int, text: str, where: str, resolver: Resolver) -> KickResult:
    try:
        addresses = await resolver.addresses(host)
    except NoSuchDomainError:
        return KickResult(False, f"kick: there is no host {host}")
    except DnsError as error:
        return KickResult(False, f"kick: {host} could not be looked up: {error}")
    why = "it has no address"
    for address in list(addresses)[:ADDRESSES_MAX]:
        try:
            reader, writer = await asyncio.open_connection(str(address), port)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            continue
        return await _ask(reader, writer, text, where)
    return KickResult(False, f"kick: {where} cannot be reached: {why}")


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str, where: str
) -> KickResult:
    answer = b""
    try:
        writer.write(text.encode("ascii") + b"\r\n")
        await writer.drain()
        while len(answer) < ANSWER_OCTETS_MAX:
            piece = await reader.read(ANSWER_OCTETS_MAX - len(answer))
            if not piece:
                break
            answer += piece
    except TimeoutError:
        raise
    except OSError as error:
        if not answer:
            return KickResult(False, f"kick: {where} broke off: {error.strerror or error}")
    finally:
        writer.transport.abort()
    return KickResult(True, f"kick: {where} was told {text!r} and said: {_shown(answer)}")


def _shown(answer: bytes) -> str:
    """What it said, on one line that prints (rule 17)."""
    text = " ".join(answer[: 4 * SHOWN_MAX].decode("utf-8", "replace").split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return (text[:SHOWN_MAX] + "..." if len(text) > SHOWN_MAX else text) or "nothing"


class SmarthostKick:
    """smtp.kick: what Link does at link-up."""

    def __init__(self, smtp: SmtpSettings, primary_domain: str, resolver: Resolver) -> None:
        self._smtp = smtp
        self._domain = primary_domain
        self._resolver = resolver

    async def __call__(self) -> str:
        """Kick when the settings say so; the result in words, "" when they don't."""
        smtp = self._smtp
        if not smtp.kick:
            return ""
        if not smtp.host:
            return "kick: smtp.host is not set, so there is nobody to kick"
        result = await kick_finger(smtp.host, smtp.trigger_port, self._domain, TIMEOUT_S, self._resolver)
        return result.words
