"""The `cmail` command: what hooks call at each link-up is said at once, everything else by cli.program."""

import sys
from collections.abc import Sequence

from cmail.cli.ending import end, silence_stdout
from cmail.cli.link_quick import parse_quick


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `cmail` and exit."""
    code = run(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run `cmail`; its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    quick = parse_quick(words)
    if quick is None:
        from cmail.cli import program  # with click, which takes longer to import than a hook may wait

        return program.run(words)
    try:
        return quick.say()
    except (Exception, KeyboardInterrupt) as error:
        return end(error)
