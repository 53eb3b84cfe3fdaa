"""A long queue: how quick and how small the server stays with 100,000 messages waiting.

    bench/longqueue.py [--messages 100000] [--folder DIR]

Prints a line a promise with its goal, and exits 1 when one is missed: `cmail queue list --limit 50`, the
restart, the drain, and what each worker's memory is: idle, with the queue and 1,000 sessions, and while
50 MiB messages arrive.
"""

import argparse
import contextlib
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import threading
import time

import peers

MIB = 2**20
SESSIONS = 1000
BIG_COUNT = 10
BIG_OCTETS = 50 * MIB - 4096  # just below the default limit


class Table:
    """Prints the promises as they are measured and remembers whether one was missed."""

    has_missed = False

    def row(self, what: str, value: float, goal: float, unit: str, *, is_at_least: bool = False) -> None:
        """One line; `value` must be at most (or at least) `goal`."""
        is_met = value >= goal if is_at_least else value <= goal
        self.has_missed |= not is_met
        word = "met" if is_met else "MISSED"
        bound = "at least" if is_at_least else "at most"
        print(f"{what:52s} {value:9.2f} {unit:5s} goal {bound} {goal:g}: {word}", flush=True)


def workers_rss(root: int) -> float:
    """The largest resident set of the server's processes, MiB."""
    sizes = []
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            if int(fields["PPid"]) == root:
                title = (status.parent / "cmdline").read_bytes() + fields["Name"].encode()
                if b"admin" not in title:
                    sizes.append(int(fields.get("VmRSS", "0 kB").split()[0]) / 1024)
    return max(sizes, default=0.0)


def fill(count: int) -> float:
    """Push messages; how many a second."""
    started = time.perf_counter()
    subprocess.run(
        [
            "smtp-source",
            "-d",
            "-s",
            "20",
            "-m",
            str(count),
            "-l",
            "4096",
            "-f",
            "a@src.example",
            "-t",
            "b@dst.example",
            f"127.0.0.1:{peers.PORT}",
        ],
        check=True,
        timeout=900,
    )
    return count / (time.perf_counter() - started)


def command_seconds(config: pathlib.Path, *words: str) -> float:
    """Median of three runs of a command; it must succeed."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run(
            [peers.Cmail.command, *words, "--config", str(config)], check=True, stdout=subprocess.DEVNULL
        )
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def open_sessions(count: int) -> list[socket.socket]:
    """Clients from many loopback addresses that have been greeted and now idle."""
    clients = []
    for number in range(count):
        client = socket.create_connection(
            ("127.0.0.1", peers.PORT), 10, source_address=(f"127.0.{number // 200}.{number % 200 + 1}", 0)
        )
        client.recv(200)
        clients.append(client)
    return clients


def send_big(number: int) -> None:
    """One message of nearly 50 MiB."""
    with socket.create_connection(("127.0.0.1", peers.PORT)) as client, client.makefile("rb") as replies:
        replies.readline()
        for line in (b"HELO load", b"MAIL FROM:<a@src.example>", b"RCPT TO:<b@dst.example>", b"DATA"):
            client.sendall(line + b"\r\n")
            replies.readline()
        client.sendall(b"From: <a@example.net>\r\nSubject: big %d\r\n\r\n" % number)
        piece = (b"x" * 76 + b"\r\n") * 4096
        for _ in range(BIG_OCTETS // len(piece)):
            client.sendall(piece)
        client.sendall(b"\r\n.\r\n")
        reply = replies.readline()
        if not reply.startswith(b"250"):
            raise RuntimeError(f"big message {number} was answered {reply!r}")


def peak_rss_while_big(root: int) -> float:
    """The largest worker while ten big messages arrive at once, MiB."""
    senders = [threading.Thread(target=send_big, args=(n,)) for n in range(BIG_COUNT)]
    for sender in senders:
        sender.start()
    peak = 0.0
    while any(sender.is_alive() for sender in senders):
        peak = max(peak, workers_rss(root))
        time.sleep(0.05)
    return peak


def drain(config: pathlib.Path, count: int) -> float:
    """Flush to a sink; messages a second until the last has arrived."""
    sink = subprocess.Popen(
        ["smtp-sink", "-u", "nobody", "-M", str(count), f"127.0.0.1:{peers.SINK}", "2000"],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(0.3)
    started = time.perf_counter()
    subprocess.run(
        [peers.Cmail.command, "queue", "flush", "--all", "--config", str(config)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        sink.wait(600)
    except subprocess.TimeoutExpired:
        sink.kill()
        raise SystemExit("the queue did not drain within 10 minutes") from None
    return count / (time.perf_counter() - started)


def main() -> None:
    """Measure all promises on one server."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--folder", default="/var/tmp")
    options = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin"
    table = Table()
    server = peers.Cmail(options.folder, hold=True)
    try:
        time.sleep(1)
        table.row("a worker idle", workers_rss(server.root_pid), 80, "MiB")
        accepted = fill(options.messages)
        print(f"{'accepted':52s} {accepted:9.0f} /s")
        clients = open_sessions(SESSIONS)
        table.row(
            f"a worker with {options.messages:,} queued and {SESSIONS:,} sessions",
            workers_rss(server.root_pid),
            200,
            "MiB",
        )
        for client in clients:
            client.close()
        table.row(
            "cmail queue list --limit 50",
            command_seconds(server.config, "queue", "list", "--limit", "50"),
            0.3,
            "s",
        )
        before = workers_rss(server.root_pid)
        table.row(
            f"growth while {BIG_COUNT} messages of 50 MiB arrive at once",
            peak_rss_while_big(server.root_pid) - before,
            60,
            "MiB",
        )
        server.end()
        started = time.perf_counter()
        server.start()
        table.row("back after a restart", time.perf_counter() - started, 3, "s")
        rate = drain(server.config, options.messages)
        table.row("drain", rate, 2000, "/s", is_at_least=True)
    finally:
        server.stop()
    sys.exit(table.has_missed)


if __name__ == "__main__":
    main()
