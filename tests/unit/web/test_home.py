"""Home: what needs attention, the line and its buttons, the way out, the first rows of the queue."""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import pytest
from starlette.testclient import TestClient

from cmail.admin.overview import Attention, Overview
from cmail.net.control import NotRunningError
from cmail.web.application import application
from cmail.web.attention import Watch
from cmail.web.context import WebContext
from cmail.web.pages.home import ROWS, way_out
from tests.support.fake_link import exchange
from tests.support.fake_web import SETTINGS, FakeProcesses, OneSession, fake_context

NOW: Final = time.time_ns() // 1_000_000
HOUR: Final = 3_600_000
LOG_IN: Final = "smtp.isp.example[192.0.2.25]:587: the log-in as anna: 535 5.7.8 no"


class House:
    """The pages and what the processes are told to say."""

    def __init__(self, folder: Path, settings: str = SETTINGS) -> None:
        self.context: WebContext
        self.processes: FakeProcesses
        self.context, self.processes = fake_context(folder, settings)
        self.browser = TestClient(
            OneSession(application(self.context)), base_url="http://mail.example.org", follow_redirects=False
        )

    def says(self, process: str, question: str, answer: Any) -> None:
        self.processes.answers[process, question] = answer
        self.context.overviews.forget()

    def asked(self, question: str) -> list[dict[str, Any]]:
        return [arguments for _, asked, arguments in self.processes.asked if asked == question]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def row(**more: Any) -> dict[str, Any]:
    """A recipient as the workers show it."""
    return {
        "id": "38G6TPN5J0000", "position": 0, "from": "anna@example.org", "to": "bob@example.net", "size": 1234,
        "state": "queued", "attempts": 2, "next_ms": NOW + HOUR, "reason": "RCPT: 451 4.7.1 Greylisted",
        "arrived_ms": NOW - HOUR, "kind": 3, "route": "relay", "origin": "", **more,
    }  # fmt: skip


def test_a_quiet_house(house: House) -> None:
    """Nothing needs attention, nothing waits, and mail moves: it says so."""
    page = house.browser.get("/").text
    assert "Nothing. Mail is moving." in page and "The queue is empty" in page
    assert "On line since" in page and "0 recipients wait" in page


def test_a_line_that_never_changed(house: House) -> None:
    """It is as it is since the server was started; when nobody knows, nothing is said."""
    house.says("link", "link.status", {"is_down": False, "changed_wall_ms": 0, "last_kick": ""})
    assert "On line since" in house.browser.get("/smtp").text
    house.says("supervisor", "status", {"children": []})
    house.context.overviews.forget()
    page = house.browser.get("/smtp").text
    assert "On line" in page and "On line since" not in page


def test_the_first_rows_of_the_queue(house: House) -> None:
    """From, to, why in plain words, the raw reply behind them; no more than ten are asked for."""
    house.says("worker", "queue.list", [row()])
    house.says("worker", "queue.figures", {"messages": 30, "recipients": {"queued": 30}, "oldest_ms": NOW})
    page = house.browser.get("/").text
    assert "anna@example.org" in page and "bob@example.net" in page
    assert "(greylisting)" in page and "451 4.7.1 Greylisted" in page
    assert "all 30 that wait" in page and "All of them" in page
    assert house.asked("queue.list")[-1]["limit"] == ROWS + 1
    assert house.asked("queue.list")[-1]["filter"] == {}


def test_the_line_by_hand(house: House) -> None:
    """Off line and on line go to the link process, and the page says what follows from it."""
    down = {"to": "down", "back": "/"}
    assert house.browser.post("/link", data=down).headers["location"] == "/"
    page = house.browser.get("/").text
    assert "That did not work" in page, "the link process has not been told what to answer"
    house.says("link", "link.down", {"is_down": True})
    assert house.browser.post("/link", data=down).status_code == 303
    house.says("link", "link.status", {"is_down": True, "changed_wall_ms": NOW - HOUR, "last_kick": ""})
    page = house.browser.get("/").text
    assert "Off line: mail for the Internet waits, and does not get older." in page
    assert ">On line</button>" in page and ">Off line by hand</button>" not in page
    assert "Mail for the Internet waits for the line." in page
    house.says("link", "link.up", {})
    assert house.browser.post("/link", data={"to": "up"}).status_code == 303
    assert [name for name, asked, _ in house.processes.asked if asked == "link.up"] == ["link"]
    assert house.browser.post("/link", data={"to": "sideways", "back": "/"}).headers["location"] == "/"
    assert "cannot be done" in house.browser.get("/").text


def test_the_next_exchange(house: House) -> None:
    """Where exchanges are planned the status line and the card of the line say when the next one is, that mail waits
    for it, and offer it; Collect now is there where there is something to be collected."""
    status = house.processes.answers["link", "link.status"]
    house.says("link", "link.status", {**status, "exchange": exchange(), "collects": True})
    page = house.browser.get("/").text
    assert "next exchange " in page and "Mail for the Internet waits for the next exchange: in " in page
    assert 'data-left="750"' in page or 'data-left="749"' in page
    assert ">Exchange now</button>" in page and ">Collect now</button>" in page
    assert "Send everything now" not in page and "What comes in is sent at once" not in page
    house.says("link", "link.status", {**status, "exchange": exchange(is_open=True)})
    page = house.browser.get("/").text
    assert "an exchange goes on" in page and ">Collect now</button>" not in page
    house.says("link", "link.status", {**status, "exchange": exchange(next_ms=0)})
    assert "waits for an exchange" in house.browser.get("/users").text
    house.says("link", "link.status", {**status, "exchange": exchange(is_planned=False)})
    page = house.browser.get("/").text
    assert "is batched" in page and ">Exchange now</button>" in page and "next exchange" not in page


def test_processes_that_do_not_answer(house: House) -> None:
    """The page is there all the same, and says which."""

    def silent(_: object) -> None:
        raise NotRunningError("worker-0 does not answer")

    for question in ("queue.list", "queue.figures", "status", "troubles"):
        house.says("worker", question, silent)
    page = house.browser.get("/")
    assert page.status_code == 200
    assert "does not answer" in page.text and "The queue: unknown" in page.text


@pytest.mark.parametrize("path", ["/live/home", "/live/home/queue", "/live/line"])
def test_live_parts_are_parts(house: House, path: str) -> None:
    """What is refreshed has no frame around it."""
    part = house.browser.get(path)
    assert part.status_code == 200 and "<html" not in part.text


WAYS: Final = {
    "upstream": ("", ("Through smtp.isp.example, port 587, encrypted when that server can.", "We do not log in")),
    "logged in": ('username = "office"\ntls = "required"', ("encrypted (STARTTLS)", "We log in there as office")),
    "mx": ('delivery = "mx"', ("Straight to the mail server", "through smtp.isp.example")),
    "nowhere": ('HOST = ""', ("Nowhere: no upstream server is named",)),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_where_mail_goes_out(tmp_path: Path, name: str) -> None:
    """The saved settings in sentences."""
    more, expected = WAYS[name]
    settings = (
        SETTINGS.replace('host = "smtp.isp.example"', 'host = ""') if "HOST" in more else SETTINGS + more
    )
    words = " ".join(way_out(House(tmp_path, settings).context.desk.settings()))
    assert all(each in words for each in expected), words


def attention(house: House) -> list[Attention]:
    """What is found now."""
    house.context.overviews.forget()
    return list(asyncio.run(house.context.overviews.get()).attention)


def words_of(house: House) -> str:
    return " | ".join(f"{each.words} {each.advice} {each.path}" for each in attention(house))


def test_a_process_that_was_started_again(house: House) -> None:
    """It is said for a while; one that is not running is said as long as it is so."""
    children = [{"name": "worker-0", "pid": 7, "state": "running", "restarts": 2}]
    house.says("supervisor", "status", {"children": children})
    assert "worker-0 has ended by itself and was started again (2 times so far)" in words_of(house)
    children[0]["state"] = "starting"
    assert "worker-0 is not running" in words_of(house)


def test_a_restart_is_forgotten(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an hour nobody is told any more."""
    watch = Watch(house.context.desk)
    child = {"name": "link", "state": "running", "restarts": 1}
    overview = Overview(NOW, {"children": [child]}, link={})
    assert len(asyncio.run(watch(overview))) == 1  # type: ignore[arg-type]
    later = time.monotonic() + 3601
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert asyncio.run(watch(overview)) == []  # type: ignore[arg-type]


def test_our_log_in_is_refused(house: House) -> None:
    """It is not the mail's fault: it is said, with the page where it is put right; off line it is not."""
    route = {"route": "relay", "ready": 0, "connections": 0, "rests_s": 60, "reason": LOG_IN}
    house.says("worker", "status", {"sessions": 0, "routes": [route]})
    [found] = attention(house)
    assert "does not accept our log-in" in found.words and found.path == "/smtp"
    house.says("link", "link.status", {"is_down": True, "changed_wall_ms": NOW, "last_kick": ""})
    assert attention(house) == []


NEXT_HOPS: Final = {
    "certificate": ("relay", "h[192.0.2.1]:25: TLS: the certificate is not good: certificate has expired", True),
    "upstream away": ("relay", "h[192.0.2.1]:25: connection refused", True),
    "another's server away": ("mx:example.net", "h[192.0.2.1]:25: connection refused", False),
    "we are block-listed there": ("mx:example.net", "h[192.0.2.1]:25: the greeting: 554 listed at spamhaus", True),
    "nothing wrong": ("relay", "", False),
}  # fmt: skip


@pytest.mark.parametrize("name", NEXT_HOPS)
def test_next_hops(house: House, name: str) -> None:
    """What is ours to see to is told; a stranger's server that is away is not."""
    route, reason, is_told = NEXT_HOPS[name]
    told = {"route": route, "ready": 0, "connections": 0, "rests_s": 60, "reason": reason}
    house.says("worker", "status", {"sessions": 0, "routes": [told, told]})
    assert len(attention(house)) == is_told


def test_no_upstream_server(tmp_path: Path) -> None:
    """It is told, more so while mail waits; with MX resolution there is no need of one."""
    house = House(tmp_path, SETTINGS.replace('host = "smtp.isp.example"', 'host = ""'))
    assert "No upstream server is named" in words_of(house)
    house.says("worker", "queue.figures", {"messages": 1, "recipients": {"queued": 1}, "oldest_ms": NOW})
    assert "Mail waits, and no upstream server is named" in words_of(house)


def test_mail_that_waits_for_long(house: House) -> None:
    """Four hours are long; off line only a day of it is told."""
    old = {"messages": 1, "recipients": {"queued": 1}, "oldest_ms": NOW - 9 * HOUR}
    house.says("worker", "queue.figures", old)
    assert "has waited for 9 h" in words_of(house) and "/queue?older=4h" in words_of(house)
    house.says("worker", "queue.figures", {**old, "oldest_ms": NOW - HOUR})
    assert attention(house) == []
    house.says("worker", "queue.figures", old)
    house.says("link", "link.status", {"is_down": True, "changed_wall_ms": NOW - HOUR, "last_kick": ""})
    assert attention(house) == []
    house.says("link", "link.status", {"is_down": True, "changed_wall_ms": NOW - 50 * HOUR, "last_kick": ""})
    assert "off line for 2 days" in words_of(house)


def test_settings_that_are_not_saved(house: House) -> None:
    """A draft is not forgotten."""
    house.context.desk.change({"smtp.port": 25}, "anna")
    assert "1 change of the settings is not saved" in words_of(house)


def test_troubles_of_the_disk(house: House) -> None:
    """What the workers say of disks stands there in their words."""
    house.says("worker", "troubles", {"troubles": ["no space on the disk of the mailboxes"]})
    assert "No space on the disk of the mailboxes" in words_of(house)
