"""`sendmail -bs`: SMTP on standard input and output. A message is left in the drop folder, durable,
before its 250 is written; so it works with the server down too."""

import os
from collections.abc import Callable, Iterator
from typing import Final

from cmail.cli.address_list import ADDRESSES_MAX
from cmail.cli.exits import Exit, Refusal
from cmail.cli.leave import leave
from cmail.cli.place import Place
from cmail.cli.submission import Submission, read_submission
from cmail.mail.address import Address
from cmail.mail.content import Unstuffer
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.limits import RECEIVED_FIELDS_MAX
from cmail.protocol.smtp import server_replies as replies
from cmail.protocol.smtp.commands import Mail, Rcpt
from cmail.protocol.smtp.extensions import ehlo_reply, offers
from cmail.protocol.smtp.server import SmtpServer
from cmail.protocol.smtp.server_states import Rules, Slot
from cmail.protocol.smtp.site_commands import NO_ATRN, NO_ETRN, Etrn

AddMissing = Callable[[Submission, Address | None], bytes]
_PIECE: Final = 64 * 1024
_LEFT: Final = b"250 2.0.0 Ok: left for the server\r\n"
_LOOP: Final = b"554 5.4.6 Too many Received fields: a loop\r\n"


def converse(place: Place, add_missing: AddMissing, source: int = 0, target: int = 1) -> int:
    """One session, up to QUIT or the end of input."""
    session = _Session(place, add_missing)
    machine = session.machine
    is_bare: bool | None = None  # whether this program ends its lines with LF alone: a pipe may
    held_cr = b""
    while True:
        _write(target, machine.take_outgoing())
        if machine.is_over:
            return Exit.OK
        data = os.read(source, _PIECE)
        if not data:
            return Exit.OK if machine.is_idle else Exit.DATA
        if is_bare is None and b"\n" in data:
            is_bare = not (held_cr + data).partition(b"\n")[0].endswith(b"\r")
        held_cr = data[-1:] if data.endswith(b"\r") else b""
        machine.receive(data.replace(b"\n", b"\r\n") if is_bare else data)


def _write(fd: int, octets: bytes) -> None:
    while octets:
        octets = octets[os.write(fd, octets) :]


class _Session:
    """What the machine asks, answered for one caller on this machine: he may send anywhere."""

    def __init__(self, place: Place, add_missing: AddMissing) -> None:
        self._place = place
        self._add_missing = add_missing
        self._mail: Mail | None = None
        self._recipients: list[Recipient] = []
        self._pieces: list[bytes] = []
        rules = Rules(
            default_domain=place.bare_name_domain,
            size_max=place.message_size_max,
            recipients_max=ADDRESSES_MAX,
        )
        greeting = f"220 {place.hostname} ESMTP CMail\r\n".encode()
        self.machine = SmtpServer(rules, self, greeting, is_tls=True)  # a pipe: no STARTTLS

    def on_helo(self, name: str, verb: str) -> bytes:
        """HELO, EHLO."""
        self.on_reset()
        if verb == "HELO":
            return f"250 {self._place.hostname}\r\n".encode()
        keywords = offers(self._place.message_size_max, is_starttls=False, mechanisms=())
        return ehlo_reply(self._place.hostname, keywords)

    def on_mail(self, mail: Mail) -> bytes:
        """A transaction begins."""
        self.on_reset()
        self._mail = mail
        return replies.SENDER_OK

    def on_rcpt(self, rcpt: Rcpt) -> bytes:
        """A recipient more."""
        self._recipients.append(rcpt.recipient)
        return replies.RECIPIENT_OK

    def on_data(self) -> bytes:
        """Content may come."""
        return b""

    def on_piece(self, piece: bytes) -> None:
        """Some content, in wire form."""
        self._pieces.append(piece)

    def on_message(self, slot: Slot, piece: bytes, size_bytes: int, seen: int) -> None:
        """All of it: durable first, then said."""
        self._pieces.append(piece)
        try:
            reply = self._leave()
        except Refusal as refusal:
            text = "".join(c if c.isprintable() else "?" for c in str(refusal))
            reply = f"451 4.3.0 {text[:400]}\r\n".encode("utf-8", "replace")
        self.on_reset()
        self.machine.answer(slot, reply)

    def _leave(self) -> bytes:
        mail = self._mail
        assert mail is not None
        pieces = _plain(self._pieces)
        submission = read_submission(lambda: next(pieces, b""), ends_at_dot=False)
        if sum(f.name == b"received" for f in submission.fields) > RECEIVED_FIELDS_MAX:
            return _LOOP
        envelope = Envelope(
            mail.reverse_path,
            tuple(self._recipients),
            ret=mail.ret,
            envid=mail.envid,
            is_smtputf8=mail.is_smtputf8,
            is_8bit=mail.is_8bit,
        )
        added = self._add_missing(submission, mail.reverse_path)
        size_max = self._place.message_size_max + len(added)
        leave(self._place.data_dir, envelope, submission.pieces(added), size_max)
        return _LEFT

    def on_drop(self, reply: bytes) -> None:
        """The content is refused while it comes."""
        self._pieces.clear()

    def on_reset(self) -> None:
        """The transaction is given up."""
        self._mail = None
        self._recipients = []
        self._pieces = []

    def on_starttls(self) -> None:
        """Not offered: nobody listens on a pipe."""
        raise AssertionError("STARTTLS on a pipe")

    def on_auth(self, mechanism: str, initial: bytes | None) -> None:
        """Not offered: who calls is known already."""
        self.machine.finish_auth(replies.NO_AUTH)

    def on_auth_response(self, response: bytes | None) -> None:
        """Never asked for."""

    def on_etrn(self, etrn: Etrn) -> None:
        """A site does not come by a pipe."""
        self.machine.finish(NO_ETRN)

    def on_atrn(self, domains: tuple[str, ...]) -> None:
        """Nor this."""
        self.machine.finish(NO_ATRN)

    def on_refused(self, line: bytes, reply: bytes) -> None:
        """The caller reads it."""


def _plain(pieces: list[bytes]) -> Iterator[bytes]:
    """The content unstuffed; empty pieces would look like its end."""
    unstuffer = Unstuffer()
    for piece in pieces:
        plain = unstuffer.feed(piece)
        if plain:
            yield plain
    rest = unstuffer.finish()
    if rest:
        yield rest
