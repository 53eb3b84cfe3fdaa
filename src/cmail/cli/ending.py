"""How a command that could not do its work ends: words on standard error, and an exit code."""

import os
import sys

from cmail.cli.exits import Exit, Refusal, code_of, words_of


def end(error: BaseException) -> int:
    """Say why; the exit code. What is a mistake of ours is raised again."""
    match error:
        case KeyboardInterrupt():
            return _say("interrupted", Exit.INTERRUPTED)
        case Refusal():
            return _say(str(error), error.code)
        case BrokenPipeError():  # `cmail queue list | head`: who reads has seen enough
            silence_stdout()
            return Exit.OK
        case OSError():
            return _say(words_of(error), code_of(error))
    return _end_rare(error)


def _end_rare(error: BaseException) -> int:
    from cmail.net.control_client import ControlError  # loaded already when it can have been raised

    if isinstance(error, ControlError):
        return _say(error.words, error.code)
    from cmail.settings import SettingError

    if isinstance(error, SettingError):
        return _say("the settings cannot be used:\n" + "\n".join(error.lines()), Exit.CONFIG)
    raise error


def _say(text: str, code: int) -> int:
    print(f"cmail: {text}", file=sys.stderr)
    return code


def silence_stdout() -> None:
    """Nobody reads any more; the interpreter must not complain of it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
