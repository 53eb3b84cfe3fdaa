"""One message to our own listener, to see that mail moves: a blocking socket and no more SMTP than that."""

import socket
from dataclasses import dataclass
from typing import BinaryIO, Final

from cmail.mail.content import stuff
from cmail.mail.reply import Reply, ReplySyntaxError, parse_reply

_TIMEOUT_S: Final = 30.0
_LINE_MAX: Final = 4096


class DialogueError(Exception):
    """Nobody there, or nobody who speaks SMTP; words for a person."""

    def __init__(self, words: str, *, is_temporary: bool = False) -> None:
        super().__init__(words)
        self.is_temporary = is_temporary


@dataclass(frozen=True, slots=True)
class Said:
    """What a command was answered."""

    command: str
    reply: Reply


def submit(host: str, port: int, sender: str, recipient: str, plain: bytes) -> Said:
    """Send it; the last thing that was said: the reply to the content, or the first refusal."""
    try:
        with socket.create_connection((host, port), _TIMEOUT_S) as connected:
            return _speak(connected, sender, recipient, plain)
    except TimeoutError:
        raise DialogueError(f"{host}:{port} does not answer within {_TIMEOUT_S:.0f} s") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DialogueError(f"no server at {host}:{port} ({reason}); start it: cmail serve") from None
    except (ReplySyntaxError, UnicodeDecodeError) as error:
        raise DialogueError(f"what listens at {host}:{port} does not speak SMTP: {error}") from None


def _speak(connected: socket.socket, sender: str, recipient: str, plain: bytes) -> Said:
    """RFC 5321 §3.3, one command at a time."""
    with connected.makefile("rb") as lines:
        said = Said("connection", _read(lines))
        is_utf8 = " SMTPUTF8" if not (sender + recipient).isascii() else ""
        for command in (
            "EHLO localhost",
            f"MAIL FROM:<{sender}>{is_utf8}",
            f"RCPT TO:<{recipient}>",
            "DATA",
        ):
            if not said.reply.is_success:
                return said
            connected.sendall(command.encode() + b"\r\n")
            said = Said(command, _read(lines))
        if said.reply.is_success:
            connected.sendall(stuff(plain) + b".\r\n")
            said = Said("content", _read(lines))
        connected.sendall(b"QUIT\r\n")
        return said


def _read(lines: BinaryIO) -> Reply:
    """A reply of one or more lines."""
    found: list[bytes] = []
    while not found or found[-1][3:4] == b"-":
        line = lines.readline(_LINE_MAX)
        if not line.endswith(b"\n") or len(found) > 200:
            raise DialogueError("the server hung up in the middle", is_temporary=True)
        found.append(line.rstrip(b"\r\n"))
    return parse_reply(found)
