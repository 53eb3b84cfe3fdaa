"""SinkMx: a scripted SMTP or LMTP server on loopback; says, hangs, closes or lies at each stage as told."""

import asyncio
import base64
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

# What to do instead of the usual reply, by stage: octets (sent as they are), or one of these.
HANG = "hang"
CLOSE = "close"
RESET = "reset"
DRIP = "drip"  # the usual reply, an octet each `drip_s`
HALF = "half"  # half of the usual reply, then it closes
NO_END = "no end"  # the usual reply without CRLF, then it hangs
ENDLESS = "endless"  # lines of one reply for ever, as fast as they are read
TWICE = "twice"  # the usual reply, and once more: one reply too many
SILENT = "silent"  # it obeys and says nothing: one reply too few
LEAVES = "leaves"  # the usual reply, then it closes
Reaction = bytes | str
# Stages: connect, EHLO, HELO, LHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, content, RSET, QUIT; a key like
# "RCPT:anna@example.org" means that command only, "content:1" the second content (from 0) of the server,
# "MAIL@1" any on its second connection, "MAIL#1" the second MAIL (from 0) on each connection.
# "in content": after some lines of it, and then it reads no further. After the command of a stage comes what was usual: 334 is what AUTH asks, BDAT a chunk that is not the last.
Script = Mapping[str, Reaction]


@dataclass
class Taken:
    """One transaction that was accepted."""

    mail: str
    recipients: list[str]
    content: bytes  # unstuffed
    connection: int
    is_encrypted: bool
    user: str = ""
    by_bdat: bool = False


@dataclass
class SinkMx:
    """`async with SinkMx(...) as sink:` then sink.port (or unix_path). Everything said is in `heard`."""

    script: Script = field(default_factory=dict)
    extensions: Sequence[str] = ("PIPELINING", "8BITMIME", "SIZE 0")
    is_lmtp: bool = False
    tls: ssl.SSLContext | None = None  # offered as STARTTLS
    is_implicit_tls: bool = False
    users: Mapping[str, str] = field(default_factory=dict)
    unix_path: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    on_stage: Callable[[str], None] | None = None
    delay_s: float = 0.0
    keeps_content: bool = True
    drip_s: float = 1.0  # between two octets of DRIP
    is_hasty: bool = False  # `taken` before its reply to the content is said, unless that is 4yz or 5yz

    taken: list[Taken] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    connections: int = 0
    contents: int = 0
    packets: list[bytes] = field(default_factory=list)
    endless_octets: int = 0  # said of an ENDLESS reply, all together
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, repr=False)

    async def __aenter__(self) -> "SinkMx":
        context = self.tls if self.is_implicit_tls else None
        if self.unix_path:
            self._server = await asyncio.start_unix_server(self.serve, self.unix_path, ssl=context)
        else:
            self._server = await asyncio.start_server(self.serve, self.host, self.port, ssl=context)
            self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop_all(self) -> None:
        """End every connection; new ones are taken."""
        for task in list(self._tasks):
            task.cancel()

    def lines(self, verb: str) -> list[str]:
        """The commands heard that begin with a verb."""
        return [line for line in self.heard if line.upper().startswith(verb.upper())]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; also for who listens for many sinks at once."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        number = self.connections
        self.connections += 1
        try:
            await _Conversation(self, reader, writer, number).run()
        except (_Closed, ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass  # cancelled: by us, at the end or in drop_all(); it is the end of this task anyway
        finally:
            writer.close()


class _Closed(Exception):
    """The script says that the connection ends here."""


class _Conversation:
    def __init__(
        self, sink: SinkMx, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self.sink, self.reader, self.writer, self.number = sink, reader, writer, number
        self.user = ""
        self.is_encrypted = sink.is_implicit_tls
        self.said: dict[str, int] = {}  # how often each stage was reached
        self.forget()

    def forget(self) -> None:
        self.mail = ""
        self.has_mail = False
        self.recipients: list[str] = []
        self.chunks = b""

    async def run(self) -> None:
        await self.say("connect", b"220 sink ESMTP\r\n")
        while True:
            line = await self.reader.readuntil(b"\r\n")
            text = line[:-2].decode("utf-8", "replace")
            self.sink.heard.append(text)
            verb = text.split(" ", 1)[0].upper()
            if verb == "QUIT":
                await self.say("QUIT", b"221 bye\r\n")
                raise _Closed
            on = getattr(self, "on_" + verb.lower(), None)
            if on is None:
                await self.say(verb, b"500 what?\r\n")
            else:
                await on(text)

    async def say(self, stage: str, usual: bytes, detail: str = "") -> bytes:
        """The scripted reaction or the usual reply; gives back what was said."""
        sink = self.sink
        if sink.on_stage is not None:
            sink.on_stage(stage)
        if sink.delay_s:
            await asyncio.sleep(sink.delay_s)
        reaction = self.reaction(stage, detail)
        if reaction is None:
            reaction = usual
        if reaction == HANG:
            await asyncio.Event().wait()
        if reaction == CLOSE:
            raise _Closed
        if reaction == RESET:
            self.writer.transport.abort()
            raise _Closed
        if isinstance(reaction, str):
            return await self.oddly(reaction, usual)
        self.writer.write(reaction)
        await self.writer.drain()
        if reaction.startswith(b"421"):
            raise _Closed
        return reaction

    def reaction(self, stage: str, detail: str) -> Reaction | None:
        """What the script says of this stage now."""
        count = self.said.get(stage, 0)
        self.said[stage] = count + 1
        script = self.sink.script
        for key in (
            f"{stage}@{self.number}",
            f"{stage}#{count}",
            f"{stage}:{detail}" if detail else stage,
            stage,
        ):
            if key in script:
                return script[key]
        return None

    async def oddly(self, reaction: str, usual: bytes) -> bytes:
        """Say the usual reply, but not as one does."""
        if reaction == DRIP:
            for octet in usual:
                self.writer.write(bytes([octet]))
                await asyncio.sleep(self.sink.drip_s)
                self.check_open()
        elif reaction == HALF:
            self.writer.write(usual[: len(usual) // 2])
            raise _Closed
        elif reaction == NO_END:
            self.writer.write(usual[:-2])
            await asyncio.Event().wait()
        elif reaction == ENDLESS:
            lines = (usual[:3] + b"-and so on\r\n") * 100
            while True:
                self.writer.write(lines)
                self.sink.endless_octets += len(lines)
                await self.writer.drain()
                await asyncio.sleep(0)
                self.check_open()
        elif reaction == LEAVES:
            self.writer.write(usual)
            raise _Closed
        else:
            assert reaction in (TWICE, SILENT), reaction
            self.writer.write(usual * 2 if reaction == TWICE else b"")
        await self.writer.drain()
        return usual

    def check_open(self) -> None:
        """A transport that is gone takes what is written, and complains on standard error."""
        if self.writer.is_closing():
            raise _Closed

    async def on_ehlo(self, text: str) -> None:
        extensions = list(self.sink.extensions)
        if self.sink.tls is not None and not self.is_encrypted:
            extensions.append("STARTTLS")
        lines = ["sink greets you", *extensions]
        reply = "".join(f"250-{line}\r\n" for line in lines[:-1]) + f"250 {lines[-1]}\r\n"
        await self.say(text.split()[0].upper(), reply.encode())

    on_lhlo = on_ehlo

    async def on_helo(self, text: str) -> None:
        await self.say("HELO", b"250 sink\r\n")

    async def on_starttls(self, text: str) -> None:
        said = await self.say("STARTTLS", b"220 go\r\n")
        if said == b"220 go\r\n":
            assert self.sink.tls is not None
            await self.writer.start_tls(self.sink.tls)
            self.is_encrypted = True

    async def on_auth(self, text: str) -> None:
        words = text.split()
        user = await self.log_in(words[1].upper(), words[2] if len(words) > 2 else "")
        ok = b"235 2.7.0 welcome\r\n" if user else b"535 5.7.8 no\r\n"
        await self.say("AUTH", ok)
        self.user = user

    async def ask(self, challenge: bytes) -> bytes:
        await self.say("334", b"334 " + base64.b64encode(challenge) + b"\r\n")
        return base64.b64decode((await self.reader.readuntil(b"\r\n")).strip())

    async def log_in(self, mechanism: str, initial: str) -> str:
        users = self.sink.users
        if mechanism == "PLAIN":
            response = base64.b64decode(initial) if initial else await self.ask(b"")
            _, user, password = response.decode().split("\0")
            return user if users.get(user) == password else ""
        if mechanism == "LOGIN":
            user = (await self.ask(b"Username:")).decode()
            return user if (await self.ask(b"Password:")).decode() == users.get(user) else ""
        return await self.log_in_by_scram(base64.b64decode(initial))

    async def log_in_by_scram(self, first: bytes) -> str:
        from scramp import ScramException, ScramMechanism

        mechanism = ScramMechanism("SCRAM-SHA-256")

        users: list[str] = []

        def keys(user: str) -> tuple[bytes, bytes, bytes, int]:
            users.append(user)
            salt, stored, server, count = mechanism.make_auth_info(self.sink.users.get(user, "?"))
            return salt, stored, server, count

        server = mechanism.make_server(keys)
        server.set_client_first(first.decode())
        final = await self.ask(server.get_server_first().encode())
        try:
            server.set_client_final(final.decode())
        except ScramException:
            return ""
        await self.ask(server.get_server_final().encode())
        return users[-1]

    async def on_mail(self, text: str) -> None:
        if self.has_mail:
            await self.say("nested", b"503 5.5.1 nested MAIL\r\n")
            return
        said = await self.say("MAIL", b"250 2.1.0 ok\r\n")
        if said.startswith(b"2"):
            self.mail, self.has_mail = text, True

    async def on_rcpt(self, text: str) -> None:
        address = text[text.index("<") + 1 : text.index(">")]
        usual = b"250 2.1.5 ok\r\n" if self.has_mail else b"503 5.5.1 MAIL first\r\n"
        said = await self.say("RCPT", usual, address)
        if said.startswith(b"2") and self.has_mail:
            self.recipients.append(text)

    async def on_rset(self, text: str) -> None:
        self.forget()
        await self.say("RSET", b"250 2.0.0 ok\r\n")

    async def on_data(self, text: str) -> None:
        usual = b"354 go on\r\n" if self.recipients else b"554 5.5.1 no valid recipients\r\n"
        said = await self.say("DATA", usual)
        if not said.startswith(b"354"):
            return
        wire = await self.read_content()
        plain = wire[1:] if wire.startswith(b"..") else wire
        await self.finish(plain.replace(b"\r\n..", b"\r\n."), by_bdat=False)

    async def read_content(self) -> bytes:
        pieces: list[bytes] = []
        while (line := await self.reader.readuntil(b"\r\n")) != b".\r\n":
            if len(pieces) > 10 and "in content" in self.sink.script:
                await self.say("in content", b"")
                await asyncio.Event().wait()  # it reads no further
            pieces.append(line)
        return b"".join(pieces)

    async def on_bdat(self, text: str) -> None:
        words = text.split()
        self.chunks += await self.reader.readexactly(int(words[1]))
        if len(words) > 2:
            await self.finish(self.chunks, by_bdat=True)
        else:
            await self.say("BDAT", b"250 2.0.0 octets\r\n")

    async def finish(self, content: bytes, by_bdat: bool) -> None:
        number = self.sink.contents
        self.sink.contents += 1
        if not self.recipients:
            await self.say("no recipients", b"554 5.5.1 no valid recipients\r\n")
            if not by_bdat:
                self.forget()
            return  # after BDAT the transaction stays open: the worst that a client may meet
        replies = len(self.recipients) if self.sink.is_lmtp else 1
        accepted: list[str] = []
        if self.sink.is_hasty and not self.refuses(number):
            self.take(self.recipients, content, by_bdat)
        for recipient in self.recipients[:replies]:
            address = recipient[recipient.index("<") + 1 : recipient.index(">")]
            detail = address if self.sink.is_lmtp else str(number)
            said = await self.say("content", b"250 2.0.0 queued as %d\r\n" % number, detail)
            if said.startswith(b"2"):
                accepted.append(recipient)
        if accepted and not self.sink.is_hasty:
            self.take(accepted if self.sink.is_lmtp else self.recipients, content, by_bdat)
        self.forget()

    def refuses(self, number: int) -> bool:
        """Whether the reply to this content will be a clear no."""
        script = self.sink.script
        count = self.said.get("content", 0)
        keys = (f"content@{self.number}", f"content#{count}", f"content:{number}", "content")
        found = next((script[key] for key in keys if key in script), b"2")
        return isinstance(found, bytes) and found[:1] in (b"4", b"5")

    def take(self, recipients: list[str], content: bytes, by_bdat: bool) -> None:
        """It is here now."""
        kept = content if self.sink.keeps_content else b""
        self.sink.taken.append(
            Taken(self.mail, recipients, kept, self.number, self.is_encrypted, self.user, by_bdat)
        )
