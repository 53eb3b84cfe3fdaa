"""Typed settings of the log: [log]."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal

from cmail.settings import ByteSize

_KEEP_SIZE: Final = ByteSize(500 * 2**20)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """[log]"""

    format: Annotated[Literal["postfix", "json"], "Lines in Postfix's grammar, or JSON."] = "postfix"
    file: Annotated[str, "Where to; empty: standard error."] = ""
    keep: Annotated[
        timedelta, "How long the page Log can look back: its copy of the log is kept so long."
    ] = timedelta(days=30)
    keep_size: Annotated[ByteSize, "The most room that copy may take; the oldest days go first."] = _KEEP_SIZE
