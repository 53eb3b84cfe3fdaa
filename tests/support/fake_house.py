"""FakeHouse: answers the server machine's questions, keeps what it took; anna and bert exist."""

from dataclasses import dataclass, field

from cmail.protocol.smtp.commands import Mail, Rcpt
from cmail.protocol.smtp.server import SmtpServer
from cmail.protocol.smtp.server_states import Hold, Rules, Slot
from cmail.protocol.smtp.site_commands import Etrn


@dataclass
class FakeHouse:
    """An Answers. `is_slow`: messages are answered by answer_all(), not at once."""

    rules: Rules = field(default_factory=lambda: Rules("smtp", "example.org", 10_000))
    is_slow: bool = False
    taken: list[tuple[str, list[str], bytes, int]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machine = SmtpServer(self.rules, self)
        self._reverse_path = ""
        self._recipients: list[str] = []
        self._content = b""
        self._slots: list[Slot] = []
        self._is_turning = False

    def hears(self, *packets: bytes) -> bytes:
        """What is written when these packets come."""
        for packet in packets:
            self.machine.receive(packet)
            if self._is_turning:
                self._is_turning = False
                self.machine.turn()
        return self.machine.take_outgoing()

    def answer_all(self, reply: bytes = b"250 2.0.0 kept\r\n") -> bytes:
        """The disk has everything; what is written then, input that was held included."""
        slots, self._slots = self._slots, []
        for slot in slots:
            self.machine.answer(slot, reply)
        self.machine.receive(b"")
        return self.machine.take_outgoing()

    def on_helo(self, name: str, verb: str) -> bytes:
        return b"250 house\r\n"

    def on_mail(self, mail: Mail) -> bytes:
        self._reverse_path = mail.reverse_path.text if mail.reverse_path else ""
        self._recipients = []
        return b"250 2.1.0 Ok\r\n"

    def on_rcpt(self, rcpt: Rcpt) -> bytes:
        address = rcpt.recipient.forward_path
        if address.local_part not in ("anna", "bert"):
            return b"550 5.1.1 nobody\r\n"
        self._recipients.append(address.text)
        return b"250 2.1.5 Ok\r\n"

    def on_data(self) -> bytes:
        return b""

    def on_piece(self, piece: bytes) -> None:
        assert piece
        self._content += piece

    def on_message(self, slot: Slot, piece: bytes, size_bytes: int, seen: int) -> None:
        content, self._content = self._content + piece, b""
        self.taken.append((self._reverse_path, self._recipients, content, size_bytes))
        if self.is_slow:
            self._slots.append(slot)
        else:
            self.machine.answer(slot, b"250 2.0.0 kept\r\n")

    def on_drop(self, reply: bytes) -> None:
        self._content = b""

    def on_reset(self) -> None:
        self._content = b""
        self.events.append("reset")

    def on_starttls(self) -> None:
        self.events.append("starttls")

    def on_auth(self, mechanism: str, initial: bytes | None) -> None:
        """PLAIN asks once; SLOW is held until finish_auth()."""
        if mechanism == "SLOW":
            self.machine.hold(Hold.HOUSE)
        else:
            self.machine.challenge(b"")

    def on_etrn(self, etrn: Etrn) -> None:
        """Obeyed."""
        self.events.append(f"etrn {etrn}")
        self.machine.finish(b"250 2.0.0 Ok\r\n")

    def on_atrn(self, domains: tuple[str, ...]) -> None:
        """Obeyed."""
        self.events.append(f"atrn {','.join(domains)}")
        self.machine.hold(Hold.HOUSE)  # others are asked first
        self._is_turning = True

    def on_auth_response(self, response: bytes | None) -> None:
        if response is not None:
            self.events.append(f"response {len(response)}")
            self.machine.finish_auth(b"235 2.7.0 in\r\n")

    def on_refused(self, line: bytes, reply: bytes) -> None:
        assert reply.endswith(b"\r\n")
