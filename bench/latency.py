"""One message at a time: how long from the final dot to the 250, and to the message at the next hop."""

import contextlib
import socket
import statistics
import threading
import time
from typing import BinaryIO

TEMPLATE = (
    b"Subject: n%d\r\nFrom: <a@src.example>\r\nTo: <b@dst.example>\r\n"
    b"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <l%d@src.example>\r\n\r\n" + b"x" * 70 + b"\r\n"
)


class Sink:
    """A next hop that notes when the content of each message has come."""

    def __init__(self, port: int) -> None:
        self.arrived: dict[int, float] = {}
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            self._say(stream, b"220 sink")
            for line in stream:
                verb = line[:4].upper()
                if verb == b"EHLO":
                    self._say(stream, b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME")
                elif verb == b"DATA":
                    self._say(stream, b"354 go")
                    self._take_content(stream)
                    self._say(stream, b"250 ok")
                elif verb == b"QUIT":
                    self._say(stream, b"221 bye")
                    return
                else:
                    self._say(stream, b"250 ok")

    def _take_content(self, stream: BinaryIO) -> None:
        number = -1
        for line in stream:
            if line.startswith(b"Subject: n"):
                number = int(line[10:])
            if line == b".\r\n":
                break
        self.arrived[number] = time.perf_counter()

    @staticmethod
    def _say(stream: BinaryIO, line: bytes) -> None:
        stream.write(line + b"\r\n")
        stream.flush()


def measure(port: int, sink_port: int, count: int = 150) -> tuple[float, float]:
    """(p50 ms to 250, p50 ms to arrival) of `count` messages; RuntimeError when some do not arrive."""
    sink = Sink(sink_port)
    sent: dict[int, float] = {}
    answered = []
    try:
        with socket.create_connection(("127.0.0.1", port)) as client, client.makefile("rb") as replies:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def ask(octets: bytes) -> bytes:
                client.sendall(octets)
                while (reply := replies.readline())[3:4] == b"-":
                    pass
                return reply

            replies.readline()
            ask(b"EHLO load\r\n")
            for number in range(count):
                ask(b"MAIL FROM:<a@src.example>\r\n")
                ask(b"RCPT TO:<b@dst.example>\r\n")
                ask(b"DATA\r\n")
                client.sendall(TEMPLATE % (number, number))
                sent[number] = time.perf_counter()
                reply = ask(b".\r\n")
                answered.append(time.perf_counter() - sent[number])
                if not reply.startswith(b"250"):
                    raise RuntimeError(f"message {number} was answered {reply!r}")
                time.sleep(0.02)
        end = time.monotonic() + 20
        while len(sink.arrived) < count and time.monotonic() < end:
            time.sleep(0.05)
        if len(sink.arrived) < count:
            raise RuntimeError(f"only {len(sink.arrived)} of {count} messages arrived")
    finally:
        sink.close()
    arrival = [sink.arrived[n] - sent[n] for n in sent]
    return statistics.median(answered) * 1e3, statistics.median(arrival) * 1e3
