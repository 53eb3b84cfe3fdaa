"""Side by side: how fast CMail and Postfix accept and relay mail; same load, disk and next hop, in turn.

    bench/run.py [--rounds 3] [--rows accept,relay,...] [--only cmail] [--folder DIR] [--json FILE]

Needs root and Debian's postfix (the server, smtp-source and smtp-sink). bench/README.md says how to read it.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import latency
import peers


@dataclasses.dataclass(frozen=True)
class Row:
    """One load. Postfix gets fewer messages, so that both run for about as long."""

    label: str
    goal: float  # times Postfix
    postfix_count: int
    cmail_count: int
    octets: int
    sessions: int
    is_connection_each: bool
    is_held: bool  # accept only: outgoing mail is held back

    def count(self, server: peers.Server) -> int:
        """How many messages this server gets."""
        return self.cmail_count if isinstance(server, peers.Cmail) else self.postfix_count


ROWS = (
    Row("accept, a connection each", 5, 3000, 12000, 4096, 20, True, True),
    Row("accept, connections reused", 5, 6000, 24000, 4096, 20, False, True),
    Row("relay, a connection each", 6, 2500, 10000, 4096, 20, True, False),
    Row("relay, connections reused", 9, 3000, 16000, 4096, 20, False, False),
    Row("relay, 100 sessions", 9, 3000, 16000, 4096, 100, False, False),
    Row("relay, 100 KiB", 3, 1500, 3000, 102400, 20, False, False),
    Row("relay, 1 MiB", 1.3, 250, 350, 1 << 20, 20, False, False),
)
LONE = "one message at a time"
SECONDS_MAX = 240


def cpu_seconds(root: int) -> float:
    """User and system time of a process, its living descendants and the children they have waited for."""
    table = {}
    for p in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = p.read_text().rpartition(")")[2].split()
            table[int(p.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    todo, total = [root], 0
    while todo:
        pid = todo.pop()
        total += table.get(pid, (0, 0))[1]
        todo += [k for k, v in table.items() if v[0] == pid]
    return total / os.sysconf("SC_CLK_TCK")


def push(server: peers.Server, row: Row, count: int) -> tuple[float, float]:
    """(messages a second, CPU milliseconds a message) of one load; SystemExit when it does not end."""
    sink = None
    if not row.is_held:
        command = ["smtp-sink", "-u", "nobody", "-M", str(count), f"127.0.0.1:{peers.SINK}", "2000"]
        sink = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(0.3)
    started, cpu = time.perf_counter(), cpu_seconds(server.root_pid)
    source = ["smtp-source", "-s", str(row.sessions), "-m", str(count), "-l", str(row.octets)]
    source += [] if row.is_connection_each else ["-d"]
    source += ["-f", "a@src.example", "-t", "b@dst.example", f"127.0.0.1:{peers.PORT}"]
    subprocess.run(source, check=True, timeout=SECONDS_MAX)
    if sink is not None:
        try:
            sink.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            sink.kill()
            sink.wait()
            raise SystemExit(f"{server.name}: {row.label}: the next hop did not get all messages") from None
    took = time.perf_counter() - started
    time.sleep(0.4)
    return count / took, (cpu_seconds(server.root_pid) - cpu) / count * 1e3


def measure(kind: type[peers.Server], row: Row, folder: str) -> tuple[float, float]:
    """One row on a fresh server, after a warm-up."""
    server = kind(folder, hold=row.is_held)
    try:
        push(server, row, max(40, row.count(server) // 20))
        return push(server, row, row.count(server))
    finally:
        server.stop()


def measure_lone(kind: type[peers.Server], folder: str) -> tuple[float, float]:
    """(p50 ms from the final dot to 250, p50 ms to arrival) of messages one at a time."""
    server = kind(folder, hold=False)
    try:
        return latency.measure(peers.PORT, peers.SINK)
    finally:
        server.stop()


def medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """The median of each side."""
    return statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs)


def print_rate(row: Row, got: dict[str, list[tuple[float, float]]]) -> dict[str, float]:
    """One line of the table for a load; returns its ratios."""
    middle = {name: medians(pairs) for name, pairs in got.items()}
    line = f"{row.label:28s}" + "".join(f" {n} {m[0]:8.0f}/s {m[1]:6.3f} ms CPU " for n, m in middle.items())
    ratios = [c[0] / p[0] for p, c in zip(got.get("postfix", []), got.get("cmail", []), strict=False)]
    return _print_ratio(line, ratios, row.goal)


def print_lone(got: dict[str, list[tuple[float, float]]]) -> dict[str, float]:
    """The line of the lone message; the ratio is Postfix's time to arrival by ours."""
    middle = {name: medians(pairs) for name, pairs in got.items()}
    line = f"{LONE:28s}" + "".join(
        f" {n} {m[0]:6.2f} ms to 250, {m[1]:6.2f} ms to arrival " for n, m in middle.items()
    )
    ratios = [p[1] / c[1] for p, c in zip(got.get("postfix", []), got.get("cmail", []), strict=False)]
    return _print_ratio(line, ratios, 1.0)


def _print_ratio(line: str, ratios: list[float], goal: float) -> dict[str, float]:
    if not ratios:
        print(line, flush=True)
        return {}
    ratio, lowest = statistics.median(ratios), min(ratios)
    word = "met" if ratio >= goal else "MISSED"
    print(f"{line} ratio {ratio:5.2f} (lowest {lowest:5.2f})  goal {goal:g}: {word}", flush=True)
    return {"ratio": ratio, "lowest": lowest, "goal": goal}


def print_heading() -> None:
    """What is switched on, so that the figures mean something."""
    has_helper = importlib.util.find_spec("cmail.protocol.smtp._scan") is not None
    has_uvloop = importlib.util.find_spec("uvloop") is not None
    print(
        f"CMail: default settings; compiled scanner {'on' if has_helper else 'off'}, "
        f"uvloop {'on' if has_uvloop else 'off'}; Validation on; log to a file."
    )
    print(
        f"Postfix: no flow delay, 20 deliveries at once, connection cache on. {os.cpu_count()} cores.",
        flush=True,
    )


def main() -> None:
    """Run the rows that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", default="", help="rows whose name contains one of these, comma between")
    parser.add_argument("--only", default="", help="postfix or cmail")
    parser.add_argument("--folder", default="/var/tmp", help="the disk that both use")
    parser.add_argument("--json", help="write all figures there")
    options = parser.parse_args()
    for tool in ("postfix", "smtp-source", "smtp-sink"):
        if shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin") is None:
            sys.exit(f"not run: {tool} is not installed (apt-get install postfix)")
    if os.getuid() != 0:
        sys.exit("not run: Postfix needs root to start")
    os.environ["PATH"] += ":/usr/sbin"
    wanted = [w.strip() for w in options.rows.split(",")]
    kinds = [k for k in (peers.Postfix, peers.Cmail) if options.only in ("", k.name)]
    print_heading()
    results: dict[str, object] = {}
    for label, row in {**{r.label: r for r in ROWS}, LONE: None}.items():
        if not any(w in label for w in wanted):
            continue
        got: dict[str, list[tuple[float, float]]] = {k.name: [] for k in kinds}
        for _ in range(options.rounds):
            for kind in kinds:
                one = measure(kind, row, options.folder) if row else measure_lone(kind, options.folder)
                got[kind.name].append(one)
        results[label] = {**got, **(print_rate(row, got) if row else print_lone(got))}
    if not results:
        sys.exit(f"no row has a name with {options.rows!r} in it")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
