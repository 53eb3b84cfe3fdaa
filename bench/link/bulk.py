"""A bare TCP connection that carries octets and nothing else: `bulk.py take ADDRESS PORT` on the far side,
`bulk.py give ADDRESS PORT OCTETS` on the near; it ends when the far side has said that it has all."""

import contextlib
import socket
import sys
import time


def take(address: str, port: int) -> None:
    """One connection: read to its end, then say how much came."""
    with socket.create_server((address, port)) as listener:
        listener.listen()
        connection, _ = listener.accept()
        with connection:
            count = 0
            while piece := connection.recv(65536):
                count += len(piece)
            connection.sendall(b"%d" % count)


def give(address: str, port: int, octets: int) -> None:
    """When a line comes on standard input: one connection, so many octets, the word that they are there."""
    sys.stdin.readline()
    for _ in range(100):
        with contextlib.suppress(ConnectionRefusedError):
            connection = socket.create_connection((address, port))
            break
        time.sleep(0.1)
    with connection:
        connection.sendall(bytes(octets))
        connection.shutdown(socket.SHUT_WR)
        assert int(connection.recv(100)) == octets


if __name__ == "__main__":
    if sys.argv[1] == "take":
        take(sys.argv[2], int(sys.argv[3]))
    else:
        give(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
