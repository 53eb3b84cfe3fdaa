"""Gives the messages on standard input to the server on 127.0.0.1: `inject.py PORT`, run by servers.py."""

import contextlib
import json
import smtplib
import sys
import time


def main(port: int) -> None:
    """All of them, over one connection."""
    rows = json.load(sys.stdin)
    with _connected(port) as server:
        for reverse_path, forward_path, octets in rows:
            server.sendmail(reverse_path, [forward_path], octets.encode("latin-1"), ["BODY=8BITMIME"])


def _connected(port: int) -> smtplib.SMTP:
    for _ in range(300):
        with contextlib.suppress(OSError):
            return smtplib.SMTP("127.0.0.1", port, timeout=60)
        time.sleep(0.1)
    raise SystemExit(f"nobody listens on port {port}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
