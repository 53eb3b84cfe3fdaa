"""ScriptedPop3: a POP3 server on loopback that does what a test says: hang, lie, forget, break off."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass
class ScriptedPop3:
    """`messages`: (unique-id, content). What is wrong with it are its fields."""

    messages: list[tuple[str, bytes]] = field(default_factory=list)
    capabilities: Sequence[str] | None = ("USER", "UIDL", "TOP", "PIPELINING", "RESP-CODES")
    answers: dict[str, bytes] = field(default_factory=dict)  # command (or "greeting") -> octets in its place
    hang_at: str = ""
    cut_at: str = ""  # this command ends the connection
    cut_retr_after: int = -1  # octets of content, once
    size_lie: int = 0  # what is added to each size
    has_uidl: bool = True
    has_top: bool = True
    renames: bool = False  # other unique-ids in each session
    forgets_deletes: bool = False
    refused: dict[str, bytes] = field(default_factory=dict)  # unique-id -> what RETR and DELE of it are told
    breaks: set[str] = field(default_factory=set)  # unique-ids at whose RETR the connection ends
    vanished: set[str] = field(default_factory=set)  # listed, and not there any more
    status_field: bool = False  # "Status: RO" is written into what was fetched
    heard: list[str] = field(default_factory=list)
    retrieved: list[str] = field(default_factory=list)
    sessions: int = 0
    port: int = 0
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None  # from the first octet
    hangs: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = list(self.messages)
        deleted: set[int] = set()
        writer.write(self.answers.get("greeting", b"+OK hello\r\n"))
        while line := await reader.readline():
            text = line.decode("latin-1").rstrip("\r\n")
            verb, _, argument = text.partition(" ")
            verb = verb.upper()
            self.heard.append(text)
            if verb == self.hang_at:
                self.hangs.set()
                await asyncio.sleep(3600)
            if verb == self.cut_at:
                return
            if verb in self.answers:
                writer.write(self.answers[verb])
                continue
            if verb == "QUIT":
                if not self.forgets_deletes:
                    gone = {there[number - 1][0] for number in deleted}
                    self.messages = [each for each in self.messages if each[0] not in gone]
                writer.write(b"+OK bye\r\n")
                await writer.drain()
                return
            await self._answer(verb, argument, there, deleted, writer)
            await writer.drain()

    async def _answer(
        self,
        verb: str,
        argument: str,
        there: list[tuple[str, bytes]],
        deleted: set[int],
        writer: asyncio.StreamWriter,
    ) -> None:
        number = int(argument.split()[0]) if argument[:1].isdigit() else 0
        if verb == "CAPA" and self.capabilities is not None:
            writer.write(
                b"+OK\r\n" + "".join(f"{each}\r\n" for each in self.capabilities).encode() + b".\r\n"
            )
        elif verb in ("USER", "PASS"):
            writer.write(b"+OK\r\n")
        elif verb == "LIST":
            lines = [
                f"{n} {max(1, len(octets) + self.size_lie)}\r\n" for n, (_, octets) in enumerate(there, 1)
            ]
            writer.write(b"+OK\r\n" + "".join(lines).encode() + b".\r\n")
        elif verb == "UIDL" and self.has_uidl:
            mark = f"s{self.sessions}-" if self.renames else ""
            lines = [f"{n} {mark}{uid}\r\n" for n, (uid, _) in enumerate(there, 1)]
            writer.write(b"+OK\r\n" + "".join(lines).encode() + b".\r\n")
        elif verb == "TOP" and self.has_top:
            head, _, body = there[number - 1][1].partition(b"\r\n\r\n")
            lines_count = int(argument.split()[1])
            kept = b"".join(line + b"\r\n" for line in body.split(b"\r\n")[:lines_count])
            writer.write(b"+OK\r\n" + stuffed(head + b"\r\n\r\n" + kept) + b".\r\n")
        elif verb in ("RETR", "DELE") and there[number - 1][0] in self.refused:
            writer.write(self.refused[there[number - 1][0]])
        elif verb == "RETR" and there[number - 1][0] not in self.vanished:
            await self._retrieve(there[number - 1], writer)
        elif verb == "DELE":
            deleted.add(number)
            writer.write(b"+OK\r\n")
        else:
            writer.write(b"-ERR no\r\n")

    async def _retrieve(self, message: tuple[str, bytes], writer: asyncio.StreamWriter) -> None:
        uid, octets = message
        self.retrieved.append(uid)
        if uid in self.breaks:
            raise ConnectionResetError
        wire = b"+OK\r\n" + stuffed(octets) + b".\r\n"
        if self.cut_retr_after >= 0:
            writer.write(wire[: self.cut_retr_after])
            self.cut_retr_after = -1
            await writer.drain()
            writer.close()
            raise ConnectionResetError
        if self.status_field:
            noted = (uid, octets.replace(b"\r\n\r\n", b"\r\nStatus: RO\r\n\r\n", 1))
            self.messages = [
                noted if each[0] == uid and b"Status:" not in each[1] else each for each in self.messages
            ]
        writer.write(wire)


def stuffed(octets: bytes) -> bytes:
    """Dots doubled, the last line with its end."""
    wire = octets.replace(b"\r\n.", b"\r\n..")
    wire = b"." + wire if wire.startswith(b".") else wire
    return wire if wire.endswith(b"\r\n") or not wire else wire + b"\r\n"
