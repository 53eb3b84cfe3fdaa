"""AtrnHub: a scripted hub for ATRN (RFC 2645): logs in who comes, turns the connection round, sends its mail."""

import asyncio
import base64
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import trustme


def hub_context(*names: str) -> tuple[ssl.SSLContext, trustme.CA]:
    """A certificate for these names, and who signed it."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("localhost", "127.0.0.1"))).configure_cert(context)
    return context, authority


@dataclass
class AtrnHub:
    """`async with AtrnHub(...) as hub:` then hub.port. Everything said by the customer is in `heard`, in
    both directions of the conversation."""

    messages: Sequence[bytes] = ()  # with CRLF, without the final dot; each for `recipient`
    recipient: str = "anna@example.org"
    reverse_path: str = "bert@example.net"
    tls: ssl.SSLContext | None = None  # offered as STARTTLS
    is_implicit_tls: bool = False
    users: Mapping[str, str] = field(default_factory=lambda: {"site": "secret"})
    replies: list[bytes] = field(default_factory=list)  # to ATRN, one a connection; then 250
    before: bytes = b""  # said behind the 250 before the customer has greeted
    asks: Sequence[bytes] = ()  # commands said before the first message
    is_leaving: bool = False  # it turns round and hangs up
    host: str = "127.0.0.1"
    port: int = 0
    acknowledged: list[int] = field(default_factory=list)  # which of the messages; they are not sent again
    heard: list[str] = field(default_factory=list)
    turned: int = 0  # connections
    is_encrypted: bool = False  # the last one that turned round

    async def __aenter__(self) -> "AtrnHub":
        self._tasks: set[asyncio.Task[None]] = set()
        context = self.tls if self.is_implicit_tls else None
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_encrypted, user = self.is_implicit_tls, ""
        writer.write(b"220 hub.example.net ODMR\r\n")
        while True:
            line = (await reader.readuntil(b"\r\n"))[:-2].decode()
            self.heard.append(line)
            verb, _, rest = line.partition(" ")
            if verb == "EHLO":
                starttls = b"250-STARTTLS\r\n" if self.tls is not None and not is_encrypted else b""
                writer.write(b"250-hub\r\n" + starttls + b"250-AUTH PLAIN\r\n250 ATRN\r\n")
            elif verb == "STARTTLS":
                assert self.tls is not None
                writer.write(b"220 go\r\n")
                await writer.start_tls(self.tls)
                is_encrypted = True
            elif verb == "AUTH":
                _, name, password = base64.b64decode(rest.split()[1]).decode().split("\0")
                user = name if self.users.get(name) == password else ""
                writer.write(b"235 welcome\r\n" if user else b"535 no\r\n")
            elif verb == "ATRN":
                reply = self._reply(user)
                writer.write(reply + self.before)
                if reply.startswith(b"250"):
                    self.turned += 1
                    self.is_encrypted = is_encrypted
                    return await self._send(reader, writer)
            else:
                writer.write(b"221 bye\r\n" if verb == "QUIT" else b"502 no\r\n")

    def _reply(self, user: str) -> bytes:
        if not user:
            return b"530 Authentication required\r\n"
        return self.replies.pop(0) if self.replies else b"250 OK now reversing the connection\r\n"

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """We are the client now."""
        if self.is_leaving:
            return

        async def say(octets: bytes) -> str:
            writer.write(octets)
            while True:
                line = (await reader.readuntil(b"\r\n")).decode()
                self.heard.append(line.rstrip())
                if line[3] == " ":
                    return line

        assert (await say(b"")).startswith("220")
        await say(b"EHLO hub.example.net\r\n")
        for octets in self.asks:
            await say(octets)
        for number, message in enumerate(self.messages):
            if number in self.acknowledged:
                continue
            await say(f"MAIL FROM:<{self.reverse_path}>\r\n".encode())
            await say(f"RCPT TO:<{self.recipient}>\r\n".encode())
            await say(b"DATA\r\n")
            if (await say(message + b".\r\n")).startswith("2"):
                self.acknowledged.append(number)
        await say(b"QUIT\r\n")
