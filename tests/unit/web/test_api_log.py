"""The log by the API: events as objects, in pages, and as they happen."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cmail.admin import journal as journal_module
from cmail.mail.queue_id import print_queue_id
from cmail.observe import maillog
from cmail.web.api import log as log_api
from tests.support.event_stream import EventStream
from tests.support.fake_web import served
from tests.support.journal import message, new_id, writing
from tests.unit.web.test_api import Api, errors, problem


class Office(Api):
    """An API before a journal of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder / "data" / "log"
        self.folder.parent.mkdir(exist_ok=True)

    def write(self, count: int) -> list[str]:
        first = new_id()
        with writing(self.folder):
            for number in range(count):
                message(type(first)(first + number), f"to{number}@example.org")
        return [print_queue_id(first + number) for number in range(count)]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_events_in_pages(office: Office) -> None:
    """The newest first; next leads to what is older; kinds and words choose."""
    ids = office.write(5)
    everything = office.ask("GET", "/log?limit=1000", "read").json()
    assert everything["next"] is None and len(everything["events"]) >= 10
    [first] = office.ask("GET", "/log?kind=accepted&limit=1", "read").json()["events"]
    assert first["id"] == ids[-1] and first["kind"] == "accepted" and first["sentence"]
    seen, path = [], "/log?kind=accepted&limit=2"
    answer = office.ask("GET", path, "read").json()
    while answer["events"]:
        seen += [event["id"] for event in answer["events"]]
        if not answer["next"]:
            break
        answer = office.ask("GET", f"{path}&before={answer['next']}", "read").json()
    assert seen == ids[::-1]
    found = office.ask("GET", f"/log?q={ids[2]}", "read").json()["events"]
    assert found and {event["id"] for event in found} == {ids[2]}


def test_what_cannot_be_asked(office: Office) -> None:
    """An unknown kind, a day that is none, too many, a place that is none: refused or nothing, never 500."""
    found = errors(office.ask("GET", "/log?kind=x&limit=5000"), 400)
    assert set(found) == {"kind", "limit"}
    assert "day" in errors(office.ask("GET", "/log?day=2026-99-99"), 400)
    for before in ("x", "1.1", "-1.-1", "9" * 99):
        assert office.ask("GET", f"/log?before={before}").status_code in (200, 400)


class Stream(EventStream):
    """Of the API, with a token that may read."""

    def __init__(self, office: Office, url: str, path: str, last: str = "") -> None:
        headers = {"authorization": f"Bearer {office.tokens['read']}", "last-event-id": last}
        super().__init__(url, f"/api/v1{path}", headers)

    def log(self) -> dict[str, Any]:
        """The next that is an event of the log."""
        until = time.monotonic() + 60
        while (found := self.event()).get("event") != "log":
            assert time.monotonic() < until
        data: dict[str, Any] = json.loads(found["data"])
        return data

    def place(self) -> str:
        """The next place to go on from."""
        while (found := self.event()).get("event") != "place":
            pass
        return found["id"]


@pytest.fixture
def url(office: Office, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(journal_module, "LOOK_S", 0.02)
    monkeypatch.setattr(journal_module, "IDLE_S", 0.2)
    with served(office.application) as url:
        yield url
        office.context.journal.close()


def test_the_stream(office: Office, url: str) -> None:
    """What happens comes as it happens; Last-Event-ID goes on where one was cut off; text stays text."""
    office.write(1)
    stream = Stream(office, url, "/log/stream?kind=accepted&kind=warning")
    assert stream.answer.headers["content-type"].startswith("text/event-stream")
    stream.place()
    [queue_id] = office.write(1)
    assert stream.log()["id"] == queue_id
    place = stream.place()
    stream.close()
    with writing(office.folder):
        maillog.warned("x\n\nevent: log\ndata: {}")
    again = Stream(office, url, "/log/stream?kind=warning", place)
    assert again.log()["kind"] == "warning"
    again.close()


def test_the_stream_has_room_and_an_end(office: Office, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many is a problem; each ends after a while, and HEAD does not begin one."""
    streams = [Stream(office, url, "/log/stream") for _ in range(journal_module.STREAMS_MAX)]
    late = Stream(office, url, "/log/stream")
    assert late.answer.status == 503 and late.answer.headers["content-type"] == "application/problem+json"
    for each in (late, *streams):
        each.close()
    problem(office.ask("POST", "/log/stream"), 405)
    assert office.ask("HEAD", "/log/stream").status_code == 405
    monkeypatch.setattr(log_api, "STREAM_S", 0.0)
    until = time.monotonic() + 60
    while (last := Stream(office, url, "/log/stream")).answer.status != 200:
        last.close()
        assert time.monotonic() < until
    last.answer.read()
    last.close()
