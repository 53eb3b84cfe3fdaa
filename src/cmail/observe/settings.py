"""Typed settings of the log: [log]."""

from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True, slots=True)
class LogSettings:
    """[log]"""

    format: Annotated[Literal["postfix", "json"], "Lines in Postfix's grammar, or JSON."] = "postfix"
    file: Annotated[str, "Where to; empty: standard error."] = ""
