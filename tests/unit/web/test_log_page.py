"""The page of the log: what it asks for, what it shows, what it sends live, and to how many at once."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from starlette.testclient import TestClient

from cmail.admin import journal as journal_module
from cmail.mail.queue_id import print_queue_id
from cmail.mail.reply import Reply
from cmail.observe import maillog
from cmail.web.application import application
from cmail.web.door import Door
from cmail.web.pages import log as log_page
from tests.support.event_stream import EventStream
from tests.support.fake_web import OneSession, fake_context, served
from tests.support.journal import CLIENT, message, new_id, writing

EVIL: Final = "<script>alert(1)</script>\r\n\x1b[2J"
BOXES: Final = re.compile(r'name="kind" value="(\w+)"( checked)?')


class Office:
    """The page before a journal of its own."""

    def __init__(self, folder: Path) -> None:
        self.context, _ = fake_context(folder)
        self.folder = folder / "data" / "log"
        self.folder.parent.mkdir(exist_ok=True)
        self.application = OneSession(application(self.context))
        self.browser = TestClient(self.application)

    def page(self, path: str = "/log") -> str:
        answer = self.browser.get(path)
        assert answer.status_code == 200
        return answer.text

    def sentences(self, path: str = "/log") -> list[str]:
        return re.findall(r"<div>\s*<p>(.*?)</p>", self.page(path))

    def write(self, count: int) -> list[str]:
        first = new_id()
        with writing(self.folder):
            for number in range(count):
                message(type(first)(first + number), f"to{number}@example.org")
        return [print_queue_id(first + number) for number in range(count)]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_nothing_yet(office: Office) -> None:
    """Before anything has happened the page says so, and offers nothing to take away."""
    text = office.page()
    assert "Nothing has been written yet" in text and "Download" not in text


def test_what_is_shown_at_first(office: Office) -> None:
    """The usual events of all days, newest first, without connections; the raw line folded away; ways on."""
    [name] = office.write(1)
    assert office.sentences() == [
        "Mail from bob@example.net to to0@example.org was delivered to smtp.isp.example.",
        "Mail from bob@example.net to to0@example.org could not be delivered yet. Their server wants every new"
        " sender to wait a little (greylisting); it takes the message at a later attempt. It is tried again by"
        " itself.",
        "Mail from bob@example.net came in from mail.example.net (192.0.2.9) (4.71 KB).",
    ]
    text = office.page()
    assert f"{name}: message-id=" in text and f'href="/log?q={name}"' in text
    assert {kind for kind, is_on in BOXES.findall(text) if not is_on} == {"session", "removed"}
    assert "Today (" in text and "/log/download?day=" in text and 'data-live="/live/log?after=' in text


def test_filters(office: Office) -> None:
    """Kinds, text and day are kept in what the page asks for next; what is unknown is left out."""
    names = office.write(3)
    text = office.page("/log?kind=sent&kind=nonsense&q=to1%40example.org&day=1999-99-99")
    assert [kind for kind, is_on in BOXES.findall(text) if is_on] == ["sent"]
    assert office.sentences("/log?kind=sent&q=to1%40example.org") == [
        "Mail from bob@example.net to to1@example.org was delivered to smtp.isp.example."
    ]
    assert 'data-live="/live/log?q=to1%40example.org&amp;kind=sent&amp;after=' in text
    assert len(office.sentences(f"/log?q={names[0]}")) == 4
    old = office.page("/log?day=2020-01-01")
    assert "Nothing of that kind" in old and 'data-live=""' in old
    assert "Search for a part of an address" in office.page("/log?q=nobody")


def test_pages(office: Office) -> None:
    """Earlier leads to what is older, until there is nothing; only the newest page is live."""
    office.write(80)
    found, path = [], "/log"
    for _ in range(3):
        text = office.page(path)
        found += re.findall(r'<li id="(at-[^"]+)"', text)
        further = re.search(r'href="([^"]+)">Earlier', text)
        path = further[1].replace("&amp;", "&") if further else ""
        assert ('data-live=""' in text) == (len(found) > 100)
        if not path:
            break
    assert (len(found), len(set(found)), path) == (240, 240, "")


def test_search_further_back(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that would take too long says how far it came, and goes on when it is asked to."""
    office.write(80)
    monkeypatch.setattr("cmail.admin.journal_scan.LOOKED_S", -1.0)
    assert "Search further back" in office.page("/log?q=to0@example.org")


def test_what_peers_say_is_text(office: Office) -> None:
    """Markup, line ends and escapes in what a stranger says are shown as what they are."""
    with writing(office.folder):
        maillog.refused(
            "smtpd",
            CLIENT,
            stage="RCPT",
            reply=Reply(550, None, "no"),
            reverse_path=EVIL,
            forward_path=EVIL,
            helo=EVIL,
        )
        maillog.login_failed("smtpd", f"{EVIL}[192.0.2.1]", mechanism="PLAIN", username=EVIL)
        maillog.warned(EVIL)
    for text in (
        office.page(),
        office.page(f"/log?q={'<script>'}&kind=warning"),
        office.browser.get("/").text,
    ):
        assert "<script>" not in text and "\x1b" not in text
        assert "&lt;script&gt;alert(1)" in text
    assert len(office.sentences()) == 3


def test_a_day_as_text(office: Office) -> None:
    """The file as it is, for a name that says what it is; a day that is not kept is 404, whatever its name."""
    office.write(2)
    [path] = office.folder.iterdir()
    answer = office.browser.get(f"/log/download?day={path.stem}")
    assert answer.content == path.read_bytes()
    assert (
        answer.headers["content-disposition"]
        == f'attachment; filename="cmail-mail.example.org-{path.stem}.log"'
    )
    assert answer.headers["content-type"].startswith("text/plain")
    for day in ("", "1999-01-01", "../../../../etc/passwd", f"{path.stem}.log"):
        assert office.browser.get("/log/download", params={"day": day}).status_code == 404


def test_strangers_see_nothing(office: Office) -> None:
    """Without a log-in there is neither page nor day nor stream."""
    context = office.context
    door = Door(application(context), context.keys, context.sessions, frozenset(("testserver",)))
    stranger = TestClient(door, follow_redirects=False)
    assert stranger.get("/log").headers["location"].startswith("/login")
    assert stranger.get("/log/download?day=2026-11-23").status_code == 303
    assert stranger.get("/live/log").status_code == 403


def test_home_and_message_have_events(office: Office) -> None:
    """Home shows the last events as sentences, each leading to all about its message."""
    [name] = office.write(1)
    text = office.page("/")
    assert f'<a href="/log?q={name}">Mail from bob@example.net to to0@example.org was delivered' in text


# Live.


class Stream(EventStream):
    """A browser that listens to /live/log."""

    def __init__(self, url: str, path: str, last: str = "") -> None:
        super().__init__(url, path, {"last-event-id": last} if last else {})

    def rows(self) -> dict[str, str]:
        """The next one with rows."""
        until = time.monotonic() + 60
        while "data" not in (found := self.event()):
            assert time.monotonic() < until
        return found


@pytest.fixture
def url(office: Office, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(journal_module, "LOOK_S", 0.02)
    monkeypatch.setattr(journal_module, "IDLE_S", 0.2)
    with served(office.application) as url:
        yield url
        office.context.journal.close()


def test_live(office: Office, url: str) -> None:
    """What happens comes as rows of the page, newest first; who was cut off goes on where he was."""
    office.write(1)
    stream = Stream(url, "/live/log?kind=sent&kind=accepted")
    assert stream.answer.headers["content-type"].startswith("text/event-stream")
    assert stream.event() == {"retry": "2000"}
    stream.event()
    office.write(1)
    found = stream.rows()
    assert found["event"] == "rows"
    assert found["data"].index("was delivered to") < found["data"].index("came in from")
    assert "could not be delivered yet" not in found["data"]
    stream.close()
    office.write(1)
    again = Stream(url, "/live/log?kind=sent&after=1.1", found["id"])
    assert again.rows()["data"].count("<li ") == 1
    again.close()


def test_live_says_what_peers_say_as_text(office: Office, url: str) -> None:
    """No line of a peer begins a field of the stream, or is markup."""
    stream = Stream(url, "/live/log")
    stream.event(), stream.event()
    with writing(office.folder):
        maillog.warned(f"x\n\nevent: rows\ndata: {EVIL}")
    found = stream.rows()
    assert set(found) == {"id", "event", "data"} and found["data"].count("<li ") == 1
    assert "<script>" not in found["data"] and "\x1b" not in found["data"]
    stream.close()


def test_live_has_room_for_a_few(office: Office, url: str) -> None:
    """One more than there is room for gets 503, until another has gone."""
    streams = [Stream(url, "/live/log") for _ in range(journal_module.STREAMS_MAX)]
    late = Stream(url, "/live/log")
    assert [each.answer.status for each in streams] == [200] * len(streams) and late.answer.status == 503
    late.close()
    streams.pop().close()
    until = time.monotonic() + 60
    while (again := Stream(url, "/live/log")).answer.status != 200:
        again.close()
        assert time.monotonic() < until
    for each in (again, *streams):
        each.close()


def test_live_ends(office: Office, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream has an end, so that who has logged out meanwhile sees no more; and all end with the process."""
    monkeypatch.setattr(log_page, "STREAM_S", 0.0)
    first = Stream(url, "/live/log")
    assert first.answer.read()
    monkeypatch.setattr(log_page, "STREAM_S", 300.0)
    second = Stream(url, "/live/log")
    second.event()
    office.context.journal.close()
    second.answer.read()
