"""What the API has left is taken as a submission: what is added, hidden and refused, and that nothing stays."""

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from cmail.mail.address import parse_address
from cmail.mail.content import Unstuffer
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.limits import CONTENT_IN_MEMORY_MAX
from cmail.mail.queue_id import parse_queue_id
from cmail.net.control import ControlError
from cmail.smtpd.drop_file import print_envelope
from cmail.smtpd.injection import Injection
from cmail.storage.spool import QueuedMessage, SpoolError, SpoolFullError
from tests.support.clock import FakeClock
from tests.support.intake import ListLog, make_context
from tests.support.memory_spool import MemorySpool

NAME: Final = "0123456789abcdef"
PLAIN: Final = b"From: a@example.org\nSubject: x\n\n.hello\n"


class Office:
    """A folder with messages that are left, and a worker that takes them."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder / "incoming"
        self.folder.mkdir()
        self.content = folder / "content"
        self.content.mkdir()
        clock = FakeClock()
        self.spool = MemorySpool(0, clock, str(self.content))
        self.log = ListLog()
        self.context = make_context(self.spool, clock, maillog=self.log, validation=True, **changes)
        self.injection = Injection(str(self.folder), lambda: self.context)

    def leave(self, content: bytes, *to: str) -> None:
        recipients = tuple(Recipient(parse_address(each.encode())) for each in to or ("bob@example.net",))
        envelope = Envelope(parse_address(b"shop@example.org"), recipients)
        (self.folder / NAME).write_bytes(print_envelope(envelope) + content)

    def inject(self, content: bytes, *to: str) -> tuple[dict[str, Any], bytes]:
        """What it answers, and what the spool has then (plain)."""
        self.leave(content, *to)

        async def run() -> tuple[dict[str, Any], bytes]:
            answer = await self.injection.inject({"file": NAME, "by": "token shop", "client": "192.0.2.7"})
            if "id" not in answer:
                return answer, b""
            message = await self.spool.message(parse_queue_id(answer["id"]))
            assert message is not None
            self.message: QueuedMessage = message
            return answer, _plain(message)

        return asyncio.run(run())

    def refused(self, content: bytes, *to: str, code: int = 65) -> str:
        """The words of a refusal; nothing stays."""
        with pytest.raises(ControlError) as caught:
            self.inject(content, *to)
        assert caught.value.code == code and not list(self.content.iterdir())
        return caught.value.words


def _plain(message: QueuedMessage) -> bytes:
    content, unstuffer = message.content, Unstuffer()
    octets = content.octets if not content.path else Path(content.path).read_bytes()
    return unstuffer.feed(content.prefix + octets) + unstuffer.finish()


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_a_message_is_taken(office: Office) -> None:
    """On top stand Received, Message-ID and Date; below it is what came, with CRLF; size, log and origin fit."""
    answer, plain = office.inject(PLAIN)
    head, _, rest = plain.partition(b"From: ")
    assert [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1].strip()] == [
        b"Received", b"Message-ID", b"Date",
    ]  # fmt: skip
    assert b"From: " + rest == PLAIN.replace(b"\n", b"\r\n")
    assert answer["size"] == len(plain) == office.message.content.size_bytes
    assert office.message.origin == "token shop by API"
    [said] = office.log.of("accepted")
    assert said["sasl_username"] == "token shop" and said["client"] == "api[192.0.2.7]"
    assert said["message_id"].startswith(f"<{answer['id']}@")


def test_what_is_there_is_not_added(office: Office) -> None:
    """Date and Message-ID of the sender stay the only ones."""
    dated = b"Date: Mon, 23 Nov 2026 08:00:00 +0000\nMessage-ID: <x@y>\n" + PLAIN
    _, plain = office.inject(dated)
    assert plain.lower().count(b"\r\ndate:") == plain.lower().count(b"\r\nmessage-id:") == 1
    assert office.log.of("accepted")[0]["message_id"] == "<x@y>"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("size", [10, CONTENT_IN_MEMORY_MAX, 5 * CONTENT_IN_MEMORY_MAX])
def test_bcc_is_hidden(office: Office, end: bytes, size: int) -> None:
    """Folded, in whatever case, in memory and in a file; what the body says of it stays."""
    header = [b"From: a@example.org", b"bcc: secret@example.org,", b"\tother@example.org", b"Subject: x"]
    body = [b"Bcc: in the body", b"." * 70, *[b"x" * 70] * (size // 71)]
    _, plain = office.inject(end.join([*header, b"", *body, b""]))
    head, _, got = plain.partition(b"\r\n\r\n")
    assert b"secret" not in head and b"other" not in head and b"Subject: x" in head
    assert got == b"\r\n".join([*body, b""])
    assert office.message.content.size_bytes == len(plain)


def test_who_nobody_here_is_is_named(office: Office) -> None:
    """All of them by their number, and nothing is kept; outside nobody is asked."""
    to = ("anna@example.org", "nobody@example.org", "bob@example.net", "none@mail.example.org")
    answer, _ = office.inject(PLAIN + b"x" * 300_000, *to)
    assert [number for number, _ in answer["refused"]] == [1, 3]
    assert not list(office.content.iterdir()) and not office.log.of("accepted")


def test_who_nobody_is_is_taken_where_that_is_set(tmp_path: Path) -> None:
    """smtp.advanced.refuse_unknown_users = false."""
    answer, _ = Office(tmp_path, refuse_unknown_users=False).inject(PLAIN, "nobody@example.org")
    assert answer["id"]


REFUSED: Final = [
    ("nothing", b"", "no content"),
    ("no header", b"\nhello\n", "no header"),
    ("lines that are no fields", b"hello\nworld\n", ""),
    ("two From", b"From: a@example.org\nFrom: b@example.org\n\nx", "From"),
    ("no From", b"Subject: x\n\nx", "From"),
    ("a loop", b"Received: x\n" * 101 + PLAIN, "loop"),
    ("a header without end", b"From: a@example.org\n" + b"X-Y: z\n" * 60_000, ""),
    ("too large", PLAIN + b"x" * 1_000_000, "larger"),
]


@pytest.mark.parametrize(("content", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """In words, and nothing of it stays."""
    assert words in Office(tmp_path, max_message_size=900_000).refused(content)


def test_too_many_recipients(office: Office) -> None:
    """limits.recipients holds here too."""
    assert "1000" in office.refused(PLAIN, *(f"to{number}@example.net" for number in range(1001)))


@pytest.mark.parametrize("error", [SpoolFullError("full"), SpoolError("broken")], ids=str)
def test_a_disk_in_trouble_is_not_the_fault_of_the_message(office: Office, error: SpoolError) -> None:
    """75: try again; nothing is read before there is room for it."""
    office.spool.refuse_with(error)
    assert "just now" in office.refused(PLAIN, code=75)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "0123", NAME + "\n", NAME.upper(), "x" * 20])
def test_only_files_of_that_folder_are_read(office: Office, name: str) -> None:
    """A name is hexadecimal digits and nothing else."""
    with pytest.raises(ControlError, match="no such file"):
        asyncio.run(office.injection.inject({"file": name}))


def test_a_link_is_not_followed(office: Office) -> None:
    """What is not a regular file of one name is refused."""
    (office.folder / NAME).symlink_to("/etc/hostname")
    with pytest.raises(ControlError):
        asyncio.run(office.injection.inject({"file": NAME}))
