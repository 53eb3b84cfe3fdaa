"""Typed settings of the admin address: [admin]."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """[admin]: page, API, figures"""

    address: Annotated[
        str,
        "The address and port of this page, of the API and of the figures. Empty: nowhere. Beyond this"
        " machine it needs TLS, and speaks it by itself.",
    ] = "127.0.0.1:8025"
