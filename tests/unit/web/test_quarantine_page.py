"""Quarantine on the page: what is there and why, inert; its buttons; what was refused and noted."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from starlette.testclient import TestClient

from cmail.admin.quarantine import inert, noted_senders, rule_words
from cmail.mail.address import parse_address
from cmail.mail.content import from_plain
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.queue_id import QueueId
from cmail.net.control import ControlError
from cmail.policy.validation.examine import examine
from cmail.policy.validation.rules import RULES
from cmail.storage.quarantine import Kept, Quarantine
from cmail.web.application import application
from tests.support.fake_web import OneSession, fake_context

ENVELOPE: Final = Envelope(
    parse_address(b"anna@example.org"), (Recipient(parse_address(b"bert@example.net")),)
)
EVIL: Final = b"From: a@example.org\r\nSubject: <script>alert(1)</script>\r\nSubject: {{ 7*7 }}\r\nX: \x1b[2J\r\n\r\n<img src=x>\r\n"
TWINS: Final = b"From: a@example.org\r\nTo: b@example.net\r\nTo: b@example.net\r\n\r\nhello\r\n"
NOTED: Final = [
    {"sender": "scan@example.net", "messages": 3, "last_ms": 5, "rules": {"date-missing": 3, "type-odd": 1}},
    {"sender": "", "messages": 1, "last_ms": 9, "rules": {"from-of-report": 1}},
]


class Page:
    """The page with a quarantine behind it."""

    def __init__(self, folder: Path) -> None:
        context, self.processes = fake_context(folder)

        async def figures() -> dict[str, dict[str, int]]:
            return {
                "cmail_validation_refused_total": {"from-missing": 1234},
                "cmail_validation_noted_total": {"date-missing": 3},
            }

        self.processes.answers["worker", "validation.noted"] = NOTED
        self.context = replace(context, figures=figures)
        self.quarantine = Quarantine(self.context.data_dir)
        (folder / "data").mkdir(exist_ok=True)
        self.session = OneSession(application(self.context))
        self.browser = TestClient(self.session, base_url="http://mail.example.org")

    def keep(self, octets: bytes, number: int = 1) -> Kept:
        content = from_plain(octets)
        return self.quarantine.keep(
            QueueId(number), ENVELOPE, content, examine(content.octets), "anna by sendmail", 1_800_000_000_000
        )


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(tmp_path)


def test_nothing_there(page: Page) -> None:
    """An empty quarantine says what would come here; what was refused and noted is counted in words."""
    text = page.browser.get("/quarantine").text
    assert "Nothing is in quarantine" in text
    assert "From: the field is missing" in text and "1\u202f234" in text
    assert "scan@example.net" in text and "Date: the field is missing" in text


def test_a_message_is_inert(page: Page) -> None:
    """Whatever stands in it is letters: no element, no template, no control sequence."""
    kept = page.keep(EVIL)
    listing, text = page.browser.get("/quarantine").text, page.browser.get(f"/quarantine/{kept.id}").text
    assert "Subject: stands more than once" in listing and "anna by sendmail" in listing
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text
    assert "{{ 7*7 }}" in text and "<img src=x" not in text and "\x1b" not in text
    assert "A repair is possible" not in text


def test_repair_is_shown_then_done(page: Page) -> None:
    """The page says what would be done and shows the header after it; the button does it."""
    kept = page.keep(TWINS)
    text = page.browser.get(f"/quarantine/{kept.id}").text
    assert "A second To field, which says the same as the first, is gone." in text
    done = page.browser.post(f"/quarantine/{kept.id}/repair").text
    assert "Nothing is wrong with it any more" in done and "What was repaired" in done
    assert page.quarantine.get(kept.id).repairs
    again = page.browser.post(f"/quarantine/{kept.id}/repair").text
    assert "nothing of it can be repaired safely" in again


def test_release_asks_the_server(page: Page) -> None:
    """A worker does it; when it cannot, its words are said and the message stays."""
    kept = page.keep(TWINS)
    page.processes.answers["worker-0", "quarantine.release"] = {"recipients": 1}
    assert "on its way to 1 recipient." in page.browser.post(f"/quarantine/{kept.id}/release").text
    assert ("worker-0", "quarantine.release", {"id": kept.id}) in page.processes.asked

    def full(_arguments: Any) -> Any:
        raise ControlError("the disk is full", 75)

    page.processes.answers["worker-0", "quarantine.release"] = full
    assert "the disk is full" in page.browser.post(f"/quarantine/{kept.id}/release").text
    assert page.quarantine.count() == 1


def test_delete(page: Page) -> None:
    """It is gone; a second time, and any other name, is said in words."""
    kept = page.keep(TWINS)
    assert "It is deleted." in page.browser.post(f"/quarantine/{kept.id}/delete").text
    assert page.quarantine.count() == 0
    assert "is not in quarantine" in page.browser.post(f"/quarantine/{kept.id}/delete").text
    assert page.browser.get(f"/quarantine/{kept.id}").status_code == 404
    assert page.browser.get("/quarantine/%2e%2e%2fsecrets").status_code == 404


def test_home_says_so(page: Page, tmp_path: Path) -> None:
    """What is in quarantine needs attention, with where to go; an empty one does not."""
    import asyncio

    from cmail.admin.overview import Overview
    from cmail.admin.quarantine import QuarantineFinder

    find = QuarantineFinder(page.quarantine)
    assert asyncio.run(find(Overview(0))) == []
    page.keep(TWINS)
    page.keep(EVIL, 2)
    [said] = asyncio.run(find(Overview(0)))
    assert said.words == "2 messages are in quarantine." and said.path == "/quarantine"


def test_switched_off_is_said(page: Page) -> None:
    """With Validation off the page says that nothing is looked at, and where the switch is."""
    config = Path(page.context.data_dir).parent / "cmail.toml"
    config.write_text(config.read_text().replace("[smtp]", "[smtp]\nvalidation = false"))
    assert "Validation is switched off" in page.browser.get("/quarantine").text


def test_every_rule_has_words() -> None:
    """Also where no field stands beside it."""
    words = {name: rule_words(name) for name in RULES}
    assert words["from-missing"] == "From: the field is missing"
    assert words["message-id-odd"].startswith("Message-ID: ") and words["twice"].startswith("A field: ")
    assert len(set(words.values())) == len(RULES) and rule_words("of-yore") == "of-yore"


def test_senders_of_all_workers_are_added_up() -> None:
    """One row a sender, who wrote last first, what was noted most often first."""
    found = noted_senders(
        [*NOTED, {"sender": "scan@example.net", "messages": 1, "last_ms": 7, "rules": {"type-odd": 9}}]
    )
    assert [each.sender for each in found] == ["", "scan@example.net"]
    assert (found[1].messages, found[1].last_ms) == (4, 7)
    assert [count for _, count in found[1].notes] == [10, 3]


def test_inert_shows_every_octet_as_a_letter() -> None:
    """Line ends stay; nothing else that is no letter does."""
    assert inert(b"a\r\nb\tc\x1b\x07\xff\xe2\x80\xae\r\n") == "a\nb\tc" + "\ufffd" * 4 + "\n"
