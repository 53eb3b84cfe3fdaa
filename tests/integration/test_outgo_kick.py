"""The kick over real sockets: it sends its line, reads to the end, and never hangs or fills memory."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from cmail.delivery.settings import SmtpSettings
from cmail.link.kick import ANSWER_OCTETS_MAX, KickResult, SmarthostKick, kick_finger
from cmail.world import DnsError, IPAddress, NoSuchDomainError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Names:
    """A Resolver that knows one name."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def addresses(self, host: str) -> Sequence[IPAddress]:
        from ipaddress import ip_address

        if self.error is not None:
            raise self.error
        return [ip_address("127.0.0.1")]

    async def mx(self, domain: str):
        raise NotImplementedError

    async def ptr(self, address: IPAddress) -> str:
        raise NotImplementedError


def kicked(serve: Serve, text: str = "example.org", timeout: float = 5.0) -> KickResult:
    async def whole() -> KickResult:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await kick_finger("smtp.isp.example", port, text, timeout, Names())

    return asyncio.run(whole())


def test_it_sends_the_domain_and_says_what_came_back() -> None:
    """RFC 1288: one line out, text in, the end of the connection is the end."""
    heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readline())
        writer.write(b"3 messages for example.org\r\nsending\x07 now\r\n")
        writer.close()

    result = kicked(serve)
    assert heard == [b"example.org\r\n"]
    assert result.is_sent
    assert result.words.endswith("said: 3 messages for example.org sending? now")


def test_a_server_that_says_nothing_is_no_failure() -> None:
    """Only mail that arrives proves that it worked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    result = kicked(serve)
    assert result.is_sent and result.words.endswith("said: nothing")


def test_a_server_that_hangs_is_given_up() -> None:
    """All of it is bounded in time."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    result = kicked(serve, timeout=0.05)
    assert not result.is_sent and "did not answer" in result.words


def test_a_server_that_never_stops_talking_is_cut_off() -> None:
    """All of it is bounded in size, and one line of it is shown."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"x" * ANSWER_OCTETS_MAX)
            await asyncio.sleep(0)
        writer.close()

    result = kicked(serve)
    assert result.is_sent and len(result.words) < 400


def test_trouble_is_said_in_words() -> None:
    """Nobody listens; no such host; no DNS; a text that is no line."""

    async def test() -> None:
        server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()

        async def words(text: str = "example.org", error: Exception | None = None) -> str:
            result = await kick_finger("smtp.isp.example", port, text, 5.0, Names(error))
            assert not result.is_sent
            return result.words

        assert "cannot be reached" in await words()
        assert "no host" in await words(error=NoSuchDomainError())
        assert "SERVFAIL" in await words(error=DnsError("SERVFAIL"))
        assert "one line" in await words("a\r\nb")

    asyncio.run(test())


def test_the_settings_say_whom_to_kick() -> None:
    """smtp.kick, smtp.host and smtp.trigger_port, with the primary domain."""
    heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readline())
        writer.close()

    async def whole() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            smtp = SmtpSettings(host="smtp.isp.example", kick=True, trigger_port=port)
            return await SmarthostKick(smtp, "example.org", Names())()

    assert "was told" in asyncio.run(whole())
    assert heard == [b"example.org\r\n"]
