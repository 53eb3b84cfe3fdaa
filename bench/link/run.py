"""Mail over bad links, measured.

    bench/link/run.py [--cases satellite,flapping,outage] [--only cmail] [--rounds 1] [--json FILE]

Needs root: two network namespaces are joined by a link that has a rate, a delay, losses and cuts. README.md
beside it says how to read the table. A goal that is missed is no error: the table says so."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial

import cases
from ground import hindrance

CASES = ("satellite", "flapping", "outage")


def main() -> None:
    """Each case in turn, then the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", default=",".join(CASES), help="which, of " + ", ".join(CASES))
    parser.add_argument("--only", choices=("cmail",), help="without Postfix and the bare transfer")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is run")
    parser.add_argument("--json", help="all figures into this file")
    options = parser.parse_args()
    if why := hindrance():
        print(f"SKIPPED: links cannot be emulated here: {why}. Nothing was measured.")
        return
    os.nice(5)  # the link takes its time whatever the machine does
    results: list[cases.Result] = []
    for run in _chosen(options.cases.split(","), is_alone=options.only == "cmail"):
        for _ in range(options.rounds):
            results.append(run())
            print(_words(results[-1]), file=sys.stderr, flush=True)
    print(_table(results))
    if options.json:
        with open(options.json, "w") as file:
            json.dump([asdict(result) for result in results], file, indent=1)


def _chosen(names: list[str], *, is_alone: bool) -> Iterator[Callable[[], cases.Result]]:
    if unknown := set(names) - set(CASES):
        sys.exit(f"there is no case {', '.join(sorted(unknown))}: there are {', '.join(CASES)}")
    if "satellite" in names:
        yield partial(cases.satellite, "cmail")
        yield cases.satellite_again
        if not is_alone:
            yield from _others()
    if "flapping" in names:
        yield partial(cases.flapping, is_new_address=False)
        yield partial(cases.flapping, is_new_address=True)
    if "outage" in names:
        yield cases.outage


def _others() -> Iterator[Callable[[], cases.Result]]:
    if shutil.which("postfix"):
        yield partial(cases.satellite, "postfix")
    else:
        print("Postfix is not installed: it is not measured.", file=sys.stderr)
    yield cases.bulk


def _table(results: list[cases.Result]) -> str:
    lines = ["| Case | | seconds | goal | |", "| --- | --- | --- | --- | --- |"]
    for result in results:
        goal = "" if not result.has_goal else "met" if not result.misses else "MISSED"
        facts = "; ".join([*(f"missed: {miss}" for miss in result.misses), *result.facts])
        lines.append(f"| {result.name} | {result.who} | {result.seconds:.1f} | {goal} | {facts} |")
    return "\n".join(lines)


def _words(result: cases.Result) -> str:
    return f"{result.name}: {result.who}: {result.seconds:.1f} s; " + "; ".join(result.facts + result.misses)


if __name__ == "__main__":
    main()
