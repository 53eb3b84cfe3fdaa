"""Mail by the API: what a worker is given, what is refused before one is asked, and how little is kept."""

import asyncio
import email
import email.policy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from cmail.admin.incoming import AT_ONCE_MAX, Incoming
from cmail.mail.envelope import Envelope
from cmail.net.control import ControlError, NotRunningError
from cmail.smtpd.drop_file import parse_envelope
from tests.support.fake_web import fake_context
from tests.unit.web.test_api import QUEUE_ID, Api, errors, problem

RAW: Final = {"content-type": "message/rfc822"}
MESSAGE: Final = {
    "from": "shop@example.org",
    "to": ["anna@example.org"],
    "subject": "Order",
    "text": "hello\n",
}


class Worker(Api):
    """An API before a worker that reads what it is given."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.incoming = folder / "data" / "admin" / "incoming"
        self.envelope: Envelope
        self.content = b""
        self.answer: dict[str, Any] = {"id": QUEUE_ID, "size": 4711}
        self.processes.answers["worker", "messages.inject"] = self.take

    def take(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.asked = asked
        assert (self.incoming / asked["file"]).stat().st_mode & 0o777 == 0o600
        line, _, self.content = (self.incoming / asked["file"]).read_bytes().partition(b"\n")
        self.envelope = parse_envelope(line)
        return self.answer


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    found = Worker(tmp_path)
    yield found
    assert not found.incoming.exists() or not list(found.incoming.iterdir())


def test_a_message_as_json(worker: Worker) -> None:
    """202 with the queue id and where to find it; the worker got envelope, content and who sent it."""
    answer = worker.ask("POST", "/messages", "send", json=MESSAGE)
    assert answer.status_code == 202
    assert answer.json() == {"id": QUEUE_ID, "size": 4711, "recipients": 1}
    assert answer.headers["location"] == f"/api/v1/queue/{QUEUE_ID}"
    assert worker.envelope.reverse_path_text == "shop@example.org"
    assert [str(each.forward_path) for each in worker.envelope.recipients] == ["anna@example.org"]
    assert worker.asked["by"] == "token send" and worker.asked["client"] == "127.0.0.1"
    assert worker.content.endswith(b"\r\n\r\nhello\r\n")


TEXTS: Final = [
    ("plain", "Order", "hello\n"),
    ("umlauts", "Größe: ä€😀 " * 20, "Grüße\n\nAnna"),
    ("what looks like an encoded word", "=?utf-8?Q?x?=", "=20 =\n"),
    ("a long line", "x", "word " * 1000),
    ("control characters", "x", "a\x01\x7fb\ttab"),
    ("dots and From", "x", ".\n..\nFrom x\n.\n"),
    ("line ends of all kinds", "x", "a\r\nb\rc\nd"),
    ("nothing", "", ""),
    ("a long subject", "s" * 500, "x"),
]


@pytest.mark.parametrize(("subject", "text"), [row[1:] for row in TEXTS], ids=[row[0] for row in TEXTS])
def test_what_is_composed_reads_as_it_was_written(worker: Worker, subject: str, text: str) -> None:
    """A mail program shows the same subject and text; no line is too long; only ASCII travels."""
    answer = worker.ask("POST", "/messages", json={**MESSAGE, "subject": subject, "text": text})
    assert answer.status_code == 202, answer.text
    assert worker.content.isascii() and max(map(len, worker.content.split(b"\r\n"))) <= 998
    assert b"\n" not in worker.content.replace(b"\r\n", b"") and b"\r" not in worker.content.replace(
        b"\r\n", b""
    )
    read = email.message_from_bytes(worker.content, policy=email.policy.SMTP)
    assert str(read["Subject"]) == subject.strip() and read["From"] == "shop@example.org"
    shown = read.get_content().replace("\r\n", "\n")  # type: ignore[attr-defined]
    wanted = text.replace("\r\n", "\n").replace("\r", "\n")
    assert shown == wanted + "\n" * bool(wanted and not wanted.endswith("\n"))


def test_a_whole_message(worker: Worker) -> None:
    """As it is; from and to stand in the address, to as often as there are recipients; from may be null."""
    octets = b"From: x@example.org\nBcc: secret@example.org\n\n\xff\xfe raw\n"
    path = "/messages?from=&to=anna%2Btag@example.org&to=bob@example.net"
    answer = worker.ask("POST", path, "send", content=octets, headers=RAW)
    assert answer.status_code == 202 and worker.content == octets
    assert worker.envelope.reverse_path is None
    assert [str(r.forward_path) for r in worker.envelope.recipients] == [
        "anna+tag@example.org",
        "bob@example.net",
    ]


def test_unknown_recipients_are_named(worker: Worker) -> None:
    """All of them, at their place among those that were given, also when one was given twice."""
    worker.answer = {"refused": [[1, "Nobody here has that address"]]}
    to = ["anna@example.org", "anna@example.org", "nobody@example.org", "nobody@EXAMPLE.org"]
    found = errors(worker.ask("POST", "/messages", json={**MESSAGE, "to": to}))
    assert set(found) == {"/to/2", "/to/3"} and "Nobody here" in found["/to/2"]
    path = "/messages?from=x@example.org&to=anna@example.org&to=nobody@example.org"
    assert "nobody@example.org" in errors(worker.ask("POST", path, content=b"A: b\n\n", headers=RAW))["to"]


REFUSED: Final = [
    ("a line end in the subject", {"subject": "a\r\nBcc: x@example.org"}, "/subject"),
    ("a line end behind the subject", {"subject": "a\n"}, "/subject"),
    ("a lone CR", {"subject": "a\rb"}, "/subject"),
    ("a line separator", {"subject": "a\u2028b"}, "/subject"),
    ("a line end in from", {"from": "a@example.org\n"}, "/from"),
    ("a line end in to", {"to": ["a@example.org\r\nRCPT TO:<b@example.org>"]}, "/to/0"),
    ("no address", {"to": ["a@example.org", "anna"]}, "/to/1"),
    ("two in one", {"to": ["a@example.org,b@example.org"]}, "/to/0"),
    ("a name with it", {"from": "Anna <anna@example.org>"}, "/from"),
    ("no sender", {"from": ""}, "/from"),
    ("nobody", {"to": []}, "/to"),
    ("too many", {"to": ["a@example.org"] * 1001}, "/to"),
    ("NUL in the text", {"text": "a\0b"}, "/text"),
    ("half a character", {"text": "\ud83d"}, "/text"),
    ("a header of one's own", {"headers": {"X-A": "b"}}, "/headers"),
]


@pytest.mark.parametrize(("change", "pointer"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_nothing_can_be_smuggled_into_a_header(worker: Worker, change: dict[str, Any], pointer: str) -> None:
    """Refused at its place, before any worker is asked."""
    import json

    octets = json.dumps({**MESSAGE, **change}).encode()
    answer = worker.ask("POST", "/messages", content=octets, headers={"content-type": "application/json"})
    assert pointer in errors(answer)
    assert not [asked for asked in worker.processes.asked if asked[1] == "messages.inject"]


def test_whole_messages_that_are_refused(worker: Worker) -> None:
    """Without from and to, with an address that is none, with NUL, too large (said and unsaid)."""
    found = errors(worker.ask("POST", "/messages", content=b"x", headers=RAW), 400)
    assert set(found) == {"from", "to"}
    path = "/messages?from=a@example.org&to=b"
    assert "to" in errors(worker.ask("POST", path, content=b"x", headers=RAW))
    path = "/messages?from=a@example.org&to=b@example.org"
    assert "NUL" in problem(worker.ask("POST", path, content=b"A: b\n\n\0", headers=RAW), 422)["detail"]
    problem(worker.ask("POST", path, json=MESSAGE), 400)
    problem(worker.ask("POST", path, content=b"x", headers={"content-type": "text/plain"}), 415)


def test_too_large(tmp_path: Path) -> None:
    """413, whether its length is said or not; nothing of it stays."""
    worker = Worker(tmp_path)
    worker.context = replace(worker.context, message_size_max=lambda: 100_000)
    from cmail.web.application import guarded

    worker.application = guarded(worker.context)
    worker.client = worker.new_client()
    path = "/messages?from=a@example.org&to=b@example.org"
    problem(worker.ask("POST", path, content=b"x" * 100_001, headers=RAW), 413)
    pieces = (b"x" * 1000 for _ in range(101))
    problem(worker.ask("POST", path, content=pieces, headers=RAW), 413)
    assert not list(worker.incoming.iterdir())
    assert worker.ask("POST", path, content=b"A: b\n\n" + b"x" * 99_000, headers=RAW).status_code == 202


def test_what_a_worker_says_is_handed_on(worker: Worker) -> None:
    """Its fault is 422 in its words, our trouble 503; a worker that is away is passed over."""

    def faulty(_: dict[str, Any]) -> Any:
        raise ControlError("From: stands more than once", 65)

    def full(_: dict[str, Any]) -> Any:
        raise ControlError("there is no room for a message just now", 75)

    worker.processes.answers["worker", "messages.inject"] = faulty
    assert "more than once" in problem(worker.ask("POST", "/messages", json=MESSAGE), 422)["detail"]
    worker.processes.answers["worker", "messages.inject"] = full
    assert "no room" in problem(worker.ask("POST", "/messages", json=MESSAGE), 503)["detail"]

    def away(_: dict[str, Any]) -> Any:
        raise NotRunningError("the server is not running")

    worker.processes.workers = ["worker-0", "worker-1"]
    worker.processes.answers["worker-0", "messages.inject"] = away
    worker.processes.answers["worker-1", "messages.inject"] = worker.take
    for _ in range(3):
        assert worker.ask("POST", "/messages", json=MESSAGE).status_code == 202


def test_only_so_many_at_once(tmp_path: Path) -> None:
    """Who comes when all places are taken hears 503 at once; what a crash left is removed."""
    context, processes = fake_context(tmp_path)
    folder = tmp_path / "data" / "admin" / "incoming"
    folder.mkdir(parents=True)
    (folder / "left").write_bytes(b"x")
    processes.answers["worker", "messages.inject"] = {"id": QUEUE_ID, "size": 1}
    incoming = Incoming(str(folder), processes)
    envelope = Envelope(None, ())

    async def run() -> None:
        hold = asyncio.Event()

        async def slow() -> Any:
            yield b"x"
            await hold.wait()

        held = [
            asyncio.create_task(incoming.inject(envelope, slow(), by="x", client=""))
            for _ in range(AT_ONCE_MAX)
        ]
        await asyncio.sleep(0)
        with pytest.raises(ControlError, match="too many"):
            await incoming.inject(envelope, slow(), by="x", client="")
        hold.set()
        assert {each.queue_id for each in await asyncio.gather(*held)} == {QUEUE_ID}
        await incoming.inject(envelope, slow(), by="x", client="")

    asyncio.run(run())
    assert not list(folder.iterdir()) and context is not None
