"""Typed settings of the admin address: [admin]."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """[admin]"""

    address: Annotated[str, "Where metrics and pages are; empty: nowhere."] = "127.0.0.1:8025"
