"""What the link process has fetched is taken once: what is added, who gets it, what goes into quarantine."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from cmail.mail.content import Unstuffer
from cmail.mail.limits import CONTENT_IN_MEMORY_MAX
from cmail.mail.queue_id import parse_queue_id
from cmail.net.control import ControlError
from cmail.policy.rewriting import Directory
from cmail.smtpd.collected import Collected
from cmail.storage.quarantine import Quarantine
from cmail.storage.spool import Change, QueueFilter, RecipientState, SpoolError, SpoolFullError
from tests.support.clock import FakeClock
from tests.support.intake import ListLog, make_context
from tests.support.mailboxes_elsewhere import message
from tests.support.memory_spool import MemorySpool

TOKEN: Final = "0123456789abcdef"
ANNA: Final = "anna@example.org"


class Office:
    """A folder with what was fetched, and the worker that takes it."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder / "incoming"
        self.folder.mkdir()
        (folder / "content").mkdir()
        clock = FakeClock()
        self.spool = MemorySpool(0, clock, str(folder / "content"))
        self.log = ListLog()
        self.context = make_context(self.spool, clock, **{"maillog": self.log, "validation": True, **changes})
        self.quarantine = Quarantine(str(folder))
        self.let_go: list[int] = []
        self.collected = Collected(str(self.folder), lambda: self.context, self.quarantine, self._let_go)

    async def _let_go(self, queue_id: Any) -> None:
        self.let_go.append(queue_id)
        await self.spool.change(QueueFilter(ids=(queue_id,)), Change.RELEASE, {"": 0})

    def take(self, octets: bytes | None = None, *to: str, **more: Any) -> dict[str, Any]:
        """Leave it and ask; the answer."""
        if octets is not None:
            (self.folder / TOKEN).write_bytes(octets)
        asked: dict[str, Any] = {
            "file": TOKEN,
            "account": "isp",
            "protocol": "pop3",
            "host": "pop.isp.example",
        }
        asked |= {"recipients": list(to or (ANNA,)), "from": "bert@example.net", "is_report": False, **more}
        return asyncio.run(self.collected.collect(asked))

    def plain(self, name: str) -> bytes:
        """What the spool has of it."""

        async def read() -> bytes:
            found = await self.spool.message(parse_queue_id(name))
            assert found is not None
            self.message = found
            unstuffer, content = Unstuffer(), found.content
            octets = (
                await asyncio.to_thread(Path(content.path).read_bytes) if content.path else content.octets
            )
            return unstuffer.feed(content.prefix + octets) + unstuffer.finish()

        return asyncio.run(read())

    def states(self) -> list[RecipientState]:
        """Of all recipients."""
        return [row.state for row in asyncio.run(_select(self.spool))]


async def _select(spool: MemorySpool) -> Any:
    return await spool.select(QueueFilter(), 100)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.mark.parametrize("size", [10, CONTENT_IN_MEMORY_MAX, 5 * CONTENT_IN_MEMORY_MAX])
def test_it_comes_as_it_was(office: Office, size: int) -> None:
    """One field on top that names mailbox, protocol and recipient; below it every octet; then it may go."""
    octets = message(1, size)
    answer = office.take(octets)
    plain = office.plain(answer["id"])
    top, _, rest = plain.partition(b"Return-Path:")
    assert b"Return-Path:" + rest == octets
    lines = top.decode().split("\r\n")
    assert lines[0] == "Received: from pop.isp.example (mailbox isp)"
    assert lines[1] == f"\tby mail.example.org with POP3 id {answer['id']}"
    assert lines[2] == f"\tfor <{ANNA}>;" and len(lines) == 5
    assert office.message.envelope.reverse_path_text == "bert@example.net"
    assert office.message.origin == "collected from isp (POP3 at pop.isp.example)"
    assert office.states() == [RecipientState.QUEUED] and len(office.let_go) == 1
    [said] = office.log.of("accepted")
    assert (
        said["protocol"] == "POP3"
        and said["service"] == "collect"
        and said["message_id"] == "<1@example.net>"
    )
    assert not answer["is_quarantined"]


def test_asked_again_it_is_the_same(office: Office) -> None:
    """As after an answer that was lost: the same queue id, nothing comes twice."""
    first = office.take(message(1))
    assert office.take() == first and len(office.states()) == 1
    assert [path.name for path in office.folder.iterdir()] == [f"{TOKEN}.{first['id']}.taken"]


def test_line_ends_and_nul(office: Office) -> None:
    """Whatever the server sent, nothing bare goes on (rule 6)."""
    answer = office.take(message(1).replace(b"\r\n", b"\n") + b"a\rb\0c\n")
    assert office.plain(answer["id"]).endswith(b"a\r\nbc\r\n")


def test_who_nobody_is_goes_to_postmaster(office: Office) -> None:
    """It was taken elsewhere already: it is not refused, not bounced, not lost; each once."""
    answer = office.take(message(1), "nobody@example.org", ANNA, "none@example.org")
    office.plain(answer["id"])
    to = [each.forward_path.text for each in office.message.envelope.recipients]
    assert to == ["postmaster@example.org", ANNA]


def test_mail_of_one_person_waits_for_the_account(office: Office) -> None:
    """67 while nobody has the address, at each try; the file stays. Taken, once, when somebody has it."""
    before, nobody = office.context, Directory(frozenset(), {}, domains=("example.org",))
    office.context = replace(before, directory=nobody)
    for octets in (message(1), None):
        with pytest.raises(ControlError, match=f"nobody here is {ANNA}") as refused:
            office.take(octets, is_for_one=True)
        assert refused.value.code == 67 and not office.states()
    office.context = before
    assert office.plain(office.take(is_for_one=True)["id"]).endswith(message(1))
    assert office.states() == [RecipientState.QUEUED]


def test_what_validation_refuses_is_in_quarantine(office: Office) -> None:
    """It came on a way that cannot refuse: kept, said, and counted as taken; asked again it stays one."""
    broken = message(1).replace(b"From: Bert <bert@example.net>\r\n", b"From: a\r\nFrom: b\r\n")
    answer = office.take(broken)
    assert answer["is_quarantined"] and office.states() == [] and not office.let_go
    [kept] = office.quarantine.all_kept()
    assert kept.id == answer["id"] and kept.origin.startswith("collected from isp")
    with office.quarantine.open(kept.id) as file:
        assert file.read() == broken
    assert office.take() == answer and len(office.quarantine.all_kept()) == 1


def test_validation_off(tmp_path: Path) -> None:
    """Then it comes as it is."""
    office = Office(tmp_path, validation=False)
    broken = message(1).replace(b"From: Bert <bert@example.net>\r\n", b"From: a\r\nFrom: b\r\n")
    assert not office.take(broken)["is_quarantined"]


FAULTS: Final = {
    "empty": (b"", 65),
    "too large": (b"From: a@b.c\r\n\r\n" + b"x" * 200_000, 65),
    "a header that is too large": (b"X: " + b"x" * 150_000 + b"\r\n\r\nx", 65),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_no_message_here_may_be(tmp_path: Path, name: str) -> None:
    """65, in words; nothing of it stays in the spool."""
    octets, code = FAULTS[name]
    office = Office(tmp_path, max_message_size=180_000)
    with pytest.raises(ControlError) as caught:
        office.take(octets)
    assert caught.value.code == code and caught.value.words
    assert office.states() == [] and not list((tmp_path / "content").iterdir())


@pytest.mark.parametrize("trouble", [SpoolFullError("full"), SpoolError("broken")])
def test_not_now(office: Office, trouble: SpoolError) -> None:
    """75, and the file stays as it was: it is asked again."""
    office.spool.refuse_with(trouble)
    with pytest.raises(ControlError) as caught:
        office.take(message(1))
    assert caught.value.code == 75 and [path.name for path in office.folder.iterdir()] == [TOKEN]


@pytest.mark.parametrize(
    "wrong",
    [
        {"file": "../../x"},
        {"file": ""},
        {"recipients": []},
        {"recipients": ["a b"]},
        {"from": "x"},
        {"recipients": 3},
    ],
)
def test_a_question_that_is_none(office: Office, wrong: dict[str, Any]) -> None:
    """Refused before a path is made of it."""
    with pytest.raises(ControlError):
        office.take(message(1), **wrong)
    assert office.states() == []
