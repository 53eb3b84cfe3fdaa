"""The end of the first run: test messages through our own server, each followed until somebody has it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cmail.admin.smtp_dialogue import DialogueError, Said
from cmail.admin.trial import Ending, Place, Progress, Trial, hand_in, open_listener
from cmail.mail.address import Address, parse_address
from cmail.net.control import ControlError
from cmail.policy.rewriting import POSTMASTER

TRIALS_MAX: Final = 10
LATE_LOOKS: Final = 15  # a wait that lasts so many looks is told as one


class Sent:
    """One test message and what is known of it."""

    def __init__(self, recipient: str) -> None:
        self.recipient = recipient
        self.taken = ""  # what our server said to it
        self.refused = ""
        self.trial: Trial | None = None
        self.progress = Progress([])
        self._looks = 0

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to be seen."""
        return bool(self.refused or self.progress.ending)

    @property
    def ending(self) -> str:
        """delivered, waits, failed, gone, unseen; "" while it moves."""
        if self.refused:
            return Ending.FAILED.value
        return self.progress.ending.value if self.progress.ending else ""

    def look(self) -> None:
        """Once more; blocks."""
        if self.trial is None or self.is_over:
            return
        self._looks += 1
        try:
            self.progress = self.trial.look(is_late=self._looks > LATE_LOOKS)
        except ControlError as error:
            self.progress = Progress([error.words], Ending.UNSEEN)


class Trials:
    """Those that were sent, the first one first."""

    def __init__(self, data_dir: str, setting: Callable[[str], Any]) -> None:
        self._data_dir, self._setting = data_dir, setting
        self.sent: Sequence[Sent] = ()

    @property
    def domain(self) -> str:
        """What stands behind the @ of a bare name."""
        domains: Sequence[str] = self._setting("host.domains")
        return str(domains[0] if domains else self._setting("host.hostname"))

    def address(self, text: str) -> Address:
        """Of an address or a bare name; AddressSyntaxError, UnicodeEncodeError."""
        return parse_address((text if "@" in text else f"{text}@{self.domain}").encode())

    async def send(self, recipient: Address) -> None:
        """One more."""
        sent = Sent(str(recipient))
        self.sent = [*self.sent, sent][-TRIALS_MAX:]
        listeners = self._setting("listener")
        place = Place(self._data_dir, self.domain, str(self._setting("local.separator")))
        await asyncio.to_thread(_hand_in, sent, recipient, place, listeners)

    async def look(self) -> None:
        """Where they are now."""
        await asyncio.gather(*(asyncio.to_thread(each.look) for each in self.sent))

    @property
    def is_moving(self) -> bool:
        """Whether another look is worth it."""
        return any(not each.is_over for each in self.sent)


def _hand_in(sent: Sent, recipient: Address, place: Place, listeners: Sequence[Mapping[str, Any]]) -> None:
    listener = open_listener(place.data_dir, listeners)
    if listener is None:
        sent.refused = "No listener of the kind smtp takes mail from this machine."
        return
    sender = parse_address(f"{POSTMASTER}@{place.domain}".encode())
    try:
        handed = hand_in(place, listener, sender, recipient)
    except DialogueError as error:
        sent.refused = f"{error}"
        return
    if isinstance(handed, Said):
        sent.refused = f"{handed.command} was answered with: {handed.reply}"
    else:
        sent.trial, sent.taken = handed, handed.reply
