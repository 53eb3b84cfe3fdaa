"""ScriptedImap: an IMAP server on loopback, just enough of one to say wrong things at the right moment."""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Self


@dataclass
class ScriptedImap:
    """`messages`: UID -> content. What is wrong with it are its fields."""

    messages: dict[int, bytes] = field(default_factory=dict)
    capabilities: str = "IMAP4rev1 UIDPLUS"
    validity: int = 7
    answers: dict[str, bytes] = field(default_factory=dict)  # command -> octets; TAG in them is its tag
    refused: dict[int, bytes] = field(default_factory=dict)  # UID -> what FETCH of its content is told
    breaks: dict[int, str] = field(
        default_factory=dict
    )  # UID -> with this in a FETCH of it the connection ends
    has_sizes: bool = True
    knows_parts: bool = True  # else all of a message comes, whatever part was asked for
    cut_content_after: int = -1  # octets, once
    body_as: str = "literal"  # or "quoted", "nil", "uid behind", "other uid"
    marked: set[int] = field(default_factory=set)
    heard: list[str] = field(default_factory=list)
    port: int = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(self.answers.get("greeting", b"* OK hello\r\n"))
            while line := (await reader.readline()).decode("latin-1").rstrip("\r\n"):
                tag, _, command = line.partition(" ")
                self.heard.append(command)
                verb = " ".join(command.split()[: 2 if command.startswith("UID") else 1])
                if verb in self.answers:
                    writer.write(self.answers[verb].replace(b"TAG", tag.encode()))
                    continue
                if (
                    verb == "UID FETCH"
                    and "BODY" in command
                    and (found := self._uids(command) & set(self.refused))
                ):
                    writer.write(self.refused[found.pop()].replace(b"TAG", tag.encode()))
                    continue
                writer.write(self._answer(verb, command))
                writer.write(f"{tag} OK done\r\n".encode())
        except _CutError as cut:
            writer.write(cut.args[0])
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _answer(self, verb: str, command: str) -> bytes:
        if verb == "CAPABILITY":
            return f"* CAPABILITY {self.capabilities}\r\n".encode()
        if verb == "SELECT":
            return f"* {len(self.messages)} EXISTS\r\n* OK [UIDVALIDITY {self.validity}] x\r\n".encode()
        if verb == "UID SEARCH":
            wanted = self.marked if " DELETED" in command else set(self.messages) - self.marked
            return ("* SEARCH " + " ".join(map(str, sorted(wanted)))).rstrip().encode() + b"\r\n"
        if verb == "UID STORE":
            self.marked |= self._uids(command)
        if verb == "UID EXPUNGE":
            self._expunge(self._uids(command))
        if verb == "EXPUNGE":
            self._expunge(set(self.marked))
        if verb == "UID FETCH":
            return b"".join(self._fetch(uid, command) for uid in sorted(self._uids(command)))
        return b"* BYE bye\r\n" if verb == "LOGOUT" else b""

    def _expunge(self, uids: set[int]) -> None:
        for uid in uids & self.marked:
            del self.messages[uid]
        self.marked -= uids

    def _uids(self, command: str) -> set[int]:
        found: set[int] = set()
        for part in command.split()[2].split(","):
            first, _, last = part.partition(":")
            found |= set(range(int(first), int(last or first) + 1))
        return found & set(self.messages)

    def _fetch(self, uid: int, command: str) -> bytes:
        octets = self.messages[uid]
        if uid in self.breaks and self.breaks[uid] in command:
            raise _CutError(b"")
        if "BODY" not in command:
            size = f" RFC822.SIZE {len(octets)}" if self.has_sizes else ""
            return f"* 1 FETCH (UID {uid}{size})\r\n".encode()
        name = "BODY[]"
        if self.knows_parts and (part := re.search(r"<(\d+)\.(\d+)>", command)):
            octets, name = octets[int(part[1]) :][: int(part[2])], f"BODY[]<{part[1]}>"
        said = uid + 1 if self.body_as == "other uid" else uid
        literal = f"{{{len(octets)}}}\r\n".encode() + octets
        if self.body_as == "quoted":
            literal = b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
        if self.body_as == "nil":
            literal = b"NIL"
        if self.body_as == "uid behind":
            return (
                f"* 9 FETCH (FLAGS ())\r\n* 1 FETCH ({name} ".encode()
                + literal
                + f" UID {said})\r\n".encode()
            )
        line = f"* 1 FETCH (UID {said} {name} ".encode() + literal + b")\r\n"
        if self.cut_content_after >= 0:
            line, self.cut_content_after = line[: self.cut_content_after], -1
            raise _CutError(line)
        return line


class _CutError(ConnectionError):
    """The connection ends behind these octets."""
