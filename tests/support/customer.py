"""Customer: a site that takes its mail by ATRN (RFC 2645), in the hands of a test; each of its steps can fail."""

import base64
import socket
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Customer:
    """A blocking client until ATRN is obeyed, and the server from then on."""

    def __init__(self, port: int) -> None:
        self._socket: socket.socket = socket.create_connection(("127.0.0.1", port), 60)
        self._held = b""
        self.taken: list[bytes] = []  # content of what was acknowledged
        self.hears()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def says(self, line: str) -> str:
        """A command and its reply, all lines of it."""
        self.sends(line)
        return self.hears()

    def sends(self, line: str) -> None:
        """A line."""
        self._socket.sendall(line.encode() + b"\r\n")

    def hears(self) -> str:
        """A whole reply."""
        found = ""
        while True:
            line = self._line().decode()
            found += line + "\n"
            if line[3:4] != "-":
                return found

    def start_tls(self) -> None:
        """STARTTLS; the certificate is the hub's own."""
        assert self.says("STARTTLS").startswith("220")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._socket = context.wrap_socket(self._socket)

    def log_in(self, user: str, password: str) -> str:
        """AUTH PLAIN."""
        token = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        return self.says(f"AUTH PLAIN {token}")

    def serve(
        self,
        offers: str = "PIPELINING",
        reply: Callable[[int], str] = lambda count: "250 2.0.0 taken",
        cut_at: int = -1,
        greeting: str = "220 ship.example ready",
    ) -> None:
        """The server of a connection that has turned round, until QUIT. `reply` answers the final dot of the
        message of that number; at `cut_at` it is read whole, and the connection cut instead of an answer."""
        self.sends(greeting)
        recipients = 0
        while True:
            try:
                line = self._line()
            except ConnectionError:
                return
            verb = line[:4].upper()
            if verb == b"EHLO":
                keywords = ["ship.example", *offers.split()]
                for keyword in keywords[:-1]:
                    self.sends(f"250-{keyword}")
                self.sends(f"250 {keywords[-1]}")
            elif verb == b"DATA":
                self.sends("354 go" if recipients else "503 nobody")
                if not recipients:
                    continue
                content = self._content()
                if len(self.taken) == cut_at:
                    self._socket.close()
                    return
                said = reply(len(self.taken))
                if said.startswith("2"):
                    self.taken.append(content)
                recipients = 0
                self.sends(said)
            elif verb == b"QUIT":
                self.sends("221 bye")
                self._socket.close()
                return
            else:
                recipients += verb == b"RCPT"
                recipients = 0 if verb == b"RSET" else recipients
                self.sends("250 2.0.0 ok")

    def _content(self) -> bytes:
        lines = []
        while (line := self._line()) != b".":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        return b"\r\n".join(lines) + b"\r\n"

    def _line(self) -> bytes:
        while b"\r\n" not in self._held:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the hub has closed the connection")
            self._held += data
        line, _, self._held = self._held.partition(b"\r\n")
        return line
