"""Where the log of this process goes, and in which form: log_file opens it, maillog writes to it."""

import atexit
import os
import socket
from typing import Final

from cmail.observe import metrics
from cmail.observe.lines import JsonLines, PostfixLines
from cmail.observe.sink import Sink


class Output:
    """One a process; standard error until somebody has opened another."""

    __slots__ = ("lines", "sink")  # asked for by each line of the log

    def __init__(self) -> None:
        self.sink = Sink(2)
        self.lines: PostfixLines | JsonLines = PostfixLines(socket.gethostname(), "main")


output: Final = Output()


def _forget() -> None:
    """In a process that was just forked: what was said and counted before is its parent's."""
    output.sink.forget()
    output.lines.forget()
    metrics.forget()


os.register_at_fork(after_in_child=_forget)
atexit.register(lambda: output.sink.flush())
