"""Refusal: how a command says no, with words for a person and a code of sysexits for a program."""

from enum import IntEnum


class Exit(IntEnum):
    """The codes of sysexits.h that our commands end with."""

    OK = 0
    USAGE = 64  # the command line is wrong
    DATA = 65  # the message or what stands in a file is wrong
    NO_INPUT = 66
    NO_USER = 67  # no such account, alias or message
    UNAVAILABLE = 69  # the server does not answer, or says no
    SOFTWARE = 70  # a mistake of ours
    OS = 71
    CANNOT_CREATE = 73
    IO = 74
    TEMPORARY = 75  # try again later
    NO_PERMISSION = 77
    CONFIG = 78
    INTERRUPTED = 130


class Refusal(Exception):
    """A command that cannot do what it was asked. The text goes to standard error as it stands."""

    def __init__(self, text: str, code: int = Exit.UNAVAILABLE) -> None:
        super().__init__(text)
        self.code = int(code)


def code_of(error: OSError) -> Exit:
    """The code for what the system said."""
    if isinstance(error, PermissionError):
        return Exit.NO_PERMISSION
    if isinstance(error, FileNotFoundError):
        return Exit.NO_INPUT
    return Exit.IO


def words_of(error: OSError) -> str:
    """What the system said, in one line: the file it is about first."""
    reason = (error.strerror or str(error)).lower()
    return f"{error.filename}: {reason}" if error.filename else reason
