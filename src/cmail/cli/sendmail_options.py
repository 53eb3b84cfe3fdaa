"""The command line of sendmail, as thirty years of programs write it -> Options."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from cmail.cli.exits import Exit, Refusal
from cmail.mail.envelope import Notify

# Letters that take a value, attached or as the next argument. All that are not told of below are
# taken and mean nothing here: what a program passes out of habit must not stop its mail.
_WITH_VALUE: Final = frozenset("ABCDFLNORVXbfhoprM")
_ATTACHED_ONLY: Final = frozenset("deqA")  # -q, -q30m, -em, -d0.1: never the next argument
_NOTIFY: Final = {
    "never": Notify.NEVER,
    "success": Notify.SUCCESS,
    "failure": Notify.FAILURE,
    "delay": Notify.DELAY,
}


@dataclass(slots=True)
class Options:
    """What sendmail was asked to do."""

    mode: str = "m"  # m: send, s: SMTP on standard input, p: list the queue, i: aliases, q: flush
    recipients: list[str] = field(default_factory=list)
    is_from_header: bool = False  # -t
    ignores_dot: bool = False  # -i
    sender: str | None = None  # -f; "" is the null reverse-path
    full_name: str = ""  # -F
    notify: Notify = Notify.UNSPECIFIED  # -N
    ret: str = ""  # -R
    envid: str = ""  # -V
    config: str = ""  # -C
    flush: str = ""  # what stands behind -q: R, S or I and a part of it
    is_verbose: bool = False


def parse_options(arguments: list[str]) -> Options:
    """Read the arguments (without the program's name)."""
    options, rest = Options(), deque(arguments)
    while rest:
        word = rest.popleft()
        if word == "--":
            break
        if word == "-" or not word.startswith("-"):
            options.recipients.append(word)
            continue
        _cluster(options, word[1:], rest)
    options.recipients += rest
    return options


def _cluster(options: Options, letters: str, rest: deque[str]) -> None:
    """-ti is -t -i; a letter with a value takes what stands behind it, or else the next argument."""
    if letters.startswith("-"):
        if letters == "-config" and rest:
            options.config = rest.popleft()
        elif letters.startswith("-config="):
            options.config = letters.partition("=")[2]
        return
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in _ATTACHED_ONLY:
            return _apply(options, letter, letters)
        if letter in _WITH_VALUE:
            if not letters and not rest:
                raise Refusal(f"-{letter} wants a value", Exit.USAGE)
            if letter == "o" and letters.startswith("M") and rest:
                rest.popleft()  # Exim's -oMr, -oMs...: what they say has a place of its own
            return _apply(options, letter, letters or rest.popleft())
        _apply(options, letter, "")
    return None


def _apply(options: Options, letter: str, value: str) -> None:
    match letter:
        case "t":
            options.is_from_header = True
        case "i":
            options.ignores_dot = True
        case "o" if value == "i":
            options.ignores_dot = True
        case "O" if value.lower() in ("ignoredots", "ignoredots=true"):
            options.ignores_dot = True
        case "f" | "r":
            options.sender = value.strip().removeprefix("<").removesuffix(">")
        case "F":
            options.full_name = value
        case "b":
            options.mode = value[:1]
        case "I":
            options.mode = "i"
        case "q":
            _flush(options, value)
        case "N":
            options.notify = _notify(value)
        case "R":
            options.ret = _ret(value)
        case "V":
            options.envid = value
        case "C":
            options.config = value
        case "v":
            options.is_verbose = True


def _flush(options: Options, value: str) -> None:
    options.mode = "q"
    options.flush = value if value[:1] in ("R", "S", "I") else ""  # -q30m: how often, for a daemon


def _notify(value: str) -> Notify:
    """-N never, or success, failure, delay in any mixture (RFC 3461 §4.1)."""
    notify = Notify.UNSPECIFIED
    for word in value.lower().split(","):
        if word.strip() not in _NOTIFY:
            raise Refusal(f"-N {value}: it is never, or some of success,failure,delay", Exit.USAGE)
        notify |= _NOTIFY[word.strip()]
    if notify & Notify.NEVER and notify != Notify.NEVER:
        raise Refusal("-N: never stands alone", Exit.USAGE)
    return notify


def _ret(value: str) -> str:
    """-R full or hdrs (RFC 3461 §4.3)."""
    if value.upper() not in ("FULL", "HDRS"):
        raise Refusal(f"-R {value}: it is full or hdrs", Exit.USAGE)
    return value.upper()
