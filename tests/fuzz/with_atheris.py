"""One parser under atheris, in a process of its own: `python -m tests.fuzz.with_atheris MODULE:TABLE NAME FOLDER SECONDS`.

The product's code is instrumented as it is imported, so this comes before any of it. The first input that
brings out a fault is written to FOLDER/crash-..., and its trace to standard error."""

import importlib
import sys
from pathlib import Path

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]


def main() -> None:
    """Until a fault is found or the time is over."""
    table, name, folder, seconds = sys.argv[1:]
    module, _, attribute = table.partition(":")
    with atheris.instrument_imports(include=["cmail", "tests.fuzz.planted"]):
        parsers = getattr(importlib.import_module(module), attribute)
    from tests.fuzz.parser import FRAGMENTS

    parser = parsers[name]
    corpus = Path(folder, "corpus")
    corpus.mkdir()
    for number, seed in enumerate([*parser.seeds, *(head + tail for head, tail in parser.frames)]):
        Path(corpus, str(number)).write_bytes(seed)
    words = Path(folder, "words")
    words.write_text("".join(f'"{_escaped(one)}"\n' for one in [*FRAGMENTS, *parser.fragments]))
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={min(parser.octets_max, 4096)}",
        "-timeout=60",  # of one input: it hangs
        "-rss_limit_mb=2048",
        "-verbosity=0",
        "-print_final_stats=1",
        f"-dict={words}",
        f"-artifact_prefix={folder}/",
        "-seed=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], parser.feed)
    atheris.Fuzz()


def _escaped(octets: bytes) -> str:
    """As a dictionary of libFuzzer wants it."""
    return "".join(f"\\x{octet:02x}" for octet in octets)


if __name__ == "__main__":
    main()
