"""Envelope and Recipient: what travels beside the content; DSN, SMTPUTF8 and other options."""

from dataclasses import dataclass
from enum import IntFlag
from typing import Any

from cmail.mail.address import Address


class Notify(IntFlag):
    """NOTIFY of RFC 3461 §4.1. UNSPECIFIED means: failure, and delay at our discretion."""

    UNSPECIFIED = 0
    NEVER = 1
    SUCCESS = 2
    FAILURE = 4
    DELAY = 8


@dataclass(frozen=True, slots=True)
class Recipient:
    """One forward-path and what its sender asked to be told of it."""

    forward_path: Address
    orcpt: str = ""  # decoded, "rfc822;anna@example.org" (RFC 3461 §4.2); "" when not given
    notify: Notify = Notify.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class Envelope:
    """MAIL FROM and RCPT TO of one message. A reverse_path of None is the null reverse-path <>."""

    reverse_path: Address | None
    recipients: tuple[Recipient, ...]
    ret: str = ""  # FULL, HDRS or "" (RFC 3461 §4.3)
    envid: str = ""  # decoded (RFC 3461 §4.4)
    is_smtputf8: bool = False  # RFC 6531 §3.4
    is_8bit: bool = False  # BODY=8BITMIME (RFC 6152)
    priority: int = 0  # RFC 6710: -9..9
    deliver_by_ms: int = 0  # link-up time (it stands still off line); 0: no deadline (RFC 2852)
    hold_until_ms: int = 0  # wall time; 0: at once (RFC 4865)
    by_mode: str = ""  # of the deadline: "N" notify, "R" return, with "T" behind it trace (RFC 2852)
    is_priority_fixed: bool = False  # 0, whatever the header section asks for

    @property
    def is_returned_late(self) -> bool:
        """Whether it is not to be delivered any more once its deadline is over."""
        return self.by_mode.startswith("R")

    @property
    def is_traced(self) -> bool:
        """Whether its sender wants to hear of each server that it is passed on to."""
        return self.by_mode.endswith("T")

    @property
    def reverse_path_text(self) -> str:
        """The reverse-path as text, "" for the null one."""
        return self.reverse_path.text if self.reverse_path is not None else ""

    def fields(self) -> dict[str, Any]:
        """Plain values, for files of ours that keep a message; its wishes of time are not among them."""
        return {
            "from": self.reverse_path_text,
            "to": [
                {"address": each.forward_path.text, "notify": int(each.notify), "orcpt": each.orcpt}
                for each in self.recipients
            ],
            "ret": self.ret,
            "envid": self.envid,
            "smtputf8": self.is_smtputf8,
            "body8bit": self.is_8bit,
        }
