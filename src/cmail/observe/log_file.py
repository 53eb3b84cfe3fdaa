"""Opens the log of this process and keeps it whole: a file that is rotated, removed or full; the journal."""

import os
import socket

from cmail.observe import maillog
from cmail.observe.journal import JournalWriter
from cmail.observe.lines import JsonLines, PostfixLines
from cmail.observe.output import output
from cmail.observe.settings import LogSettings
from cmail.observe.sink import Sink
from cmail.settings import SettingError, SettingProblem


def open(
    settings: LogSettings, hostname: str = "", process: str = "main", *, is_file_later: bool = False
) -> None:
    """Log as the settings say from now on. `process` is the ident of what belongs to no service:
    supervisor, worker-0, link, admin. SettingError when the file cannot be opened; with `is_file_later`
    lines go to standard error until heal() can open it."""
    try:
        if is_file_later and settings.file:
            sink = Sink(os.dup(2), settings.file, is_substitute=True)
        else:
            sink = Sink(_open_file(settings.file), settings.file) if settings.file else Sink(2)
    except OSError as error:
        reason = f"{settings.file!r} cannot be opened: {error.strerror}"
        example = 'file = "/var/log/cmail/mail.log"'
        raise SettingError((SettingProblem("log.file", reason, example),)) from error
    sink.journal = output.sink.journal
    output.sink.close()
    output.sink = sink
    output.lines = (JsonLines if settings.format == "json" else PostfixLines)(
        hostname or socket.gethostname(), process
    )


def keep_journal(folder: str, size_max: int) -> None:
    """Write each line into the journal too, from now on; processes that are forked later do as we do.
    No folder: no journal."""
    if output.sink.journal is not None:
        output.sink.journal.close()
    output.sink.journal = JournalWriter(folder, size_max) if folder else None


def limit_journal(size_max: int) -> None:
    """Another log.keep_size."""
    if output.sink.journal is not None:
        output.sink.journal.size_max = size_max


def identify(process: str) -> None:
    """The ident of what belongs to no service, in a process that was just forked."""
    output.lines.process = process


def reopen() -> None:
    """The file was rotated (SIGHUP): go on under its name."""
    try:
        output.sink.reopen(_open_file)
    except OSError as error:
        maillog.warned(f"the log cannot be reopened, the old file is written on: {error}")


def heal() -> None:
    """Now and then: open the log's file when it was removed, or could not be opened; say what was lost."""
    if words := output.sink.heal_journal():
        maillog.warned(words)
    try:
        output.sink.heal(_open_file)
    except OSError:
        return  # still the same: trouble() has said so
    count, why = output.sink.take_lost()
    if count:
        maillog.warned(f"{count} lines of the log were lost: {why}")


def trouble() -> str:
    """What is wrong with the log now, in plain words; "" for nothing."""
    return output.sink.trouble() or (output.sink.journal.trouble() if output.sink.journal else "")


def flush() -> None:
    """Write what is buffered, as far as it goes without waiting."""
    output.sink.flush()


def _open_file(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
