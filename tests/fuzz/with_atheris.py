"""Parsers under atheris, in a process of their own: `... -m tests.fuzz.with_atheris MODULE:TABLE FOLDER SECONDS NAME...`.

The product's code is instrumented as it is imported, so this comes before any of it, and once: then each
parser has a child. In FOLDER/NUMBER the child leaves what it said, and an input that brings out a fault as
crash-... The seconds are for all parsers together."""

import importlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

from tests.fuzz.parser import FRAGMENTS, Parser

LEAST_S: Final = 1.0  # of a parser, however slow the machine is
PATIENCE_S: Final = 60.0  # beyond its time, before a child is ended
INPUT_S: Final = 40  # for one input: it hangs
SAID: Final = "said"


def main() -> None:
    """One parser after the other; the number of each is told as its turn comes."""
    table, folder, seconds, *names = sys.argv[1:]
    module, _, attribute = table.partition(":")
    with atheris.instrument_imports(include=["cmail", "tests.fuzz.planted"]):
        parsers = getattr(importlib.import_module(module), attribute)
    until = time.monotonic() + float(seconds)
    for number, name in enumerate(names):
        print(number, flush=True)
        share_s = max(LEAST_S, (until - time.monotonic()) / (len(names) - number))
        place = Path(folder, str(number))
        place.mkdir()
        pid = os.fork()
        if not pid:
            _fuzz(parsers[name], place, share_s)
        _wait(pid, share_s + PATIENCE_S, place)


def _wait(pid: int, limit_s: float, place: Path) -> None:
    until = time.monotonic() + limit_s
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            Path(place, "timeout-of-all").write_bytes(b"")
            return
        time.sleep(0.02)


def _fuzz(parser: Parser, place: Path, seconds: float) -> None:
    """In the child: until a fault is found or the time is over; never returns."""
    said = os.open(place / SAID, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(said, 1)
    os.dup2(said, 2)
    corpus = place / "corpus"
    corpus.mkdir()
    for number, seed in enumerate([*parser.seeds, *(head + tail for head, tail in parser.frames)]):
        Path(corpus, str(number)).write_bytes(seed)
    words = place / "words"
    words.write_text("".join(f'"{_escaped(one)}"\n' for one in [*FRAGMENTS, *parser.fragments]))
    options = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-max_len={min(parser.octets_max, 4096)}",
        f"-timeout={INPUT_S}",
        "-rss_limit_mb=2048",
        "-verbosity=0",
        "-print_final_stats=1",
        "-seed=1",
        f"-dict={words}",
        f"-artifact_prefix={place}/",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], parser.feed)
    atheris.Fuzz()
    os._exit(0)


def _escaped(octets: bytes) -> str:
    """As a dictionary of libFuzzer wants it."""
    return "".join(f"\\x{octet:02x}" for octet in octets)


if __name__ == "__main__":
    main()
