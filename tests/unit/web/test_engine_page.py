"""Engine Monitor: what processes do and take, how near limits are; who does not answer; settings read anew."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from starlette.testclient import TestClient

from cmail.admin.engine import route_words
from cmail.admin.running import own_process, usage_of
from cmail.net.control import ControlError
from cmail.web.application import application
from tests.support.fake_web import OneSession, fake_context

CHILDREN: Final = [
    {"name": "worker-0", "pid": os.getpid(), "state": "running", "restarts": 2},
    {"name": "link", "pid": 0, "state": "waiting", "restarts": 7},
]
ROUTES: Final = [
    {"route": "local", "ready": 0, "connections": 1, "connections_max": 20, "rests_s": 0, "reason": ""},
    {
        "route": "mx:else.example",
        "ready": 3,
        "connections": 4,
        "connections_max": 5,
        "rests_s": 0,
        "reason": "",
    },
    {
        "route": "relay",
        "ready": 0,
        "connections": 0,
        "connections_max": 5,
        "rests_s": 90,
        "reason": "no <answer>",
    },
]


class Office:
    """The page before processes that say what they are told."""

    def __init__(self, folder: Path) -> None:
        context, self.processes = fake_context(folder)
        (folder / "data").mkdir()

        async def figures() -> dict[str, dict[str, int]]:
            return {
                "cmail_messages_accepted_total": {"": 4711},
                "cmail_recipients_delivered_total": {"smtp": 30, "local": 12},
                "cmail_spool_commits_total": {"": 100},
                "cmail_spool_changes_total": {"": 450},
                "cmail_spool_sync_microseconds_total": {"": 250_000},
            }

        self.context = replace(context, figures=figures)
        status = {
            "pid": os.getpid(),
            "version": "0.1.0",
            "started_ms": 1,
            "settings": 3,
            "children": CHILDREN,
        }
        status |= {
            "config": "/etc/cmail/cmail.toml",
            "listeners": [{"kind": "smtp", "address": "0.0.0.0:25"}],
        }
        self.answers = self.processes.answers
        self.answers["supervisor", "status"] = status
        self.answers["worker", "status"] = {"number": 0, "sessions": 12, "sessions_max": 13, "routes": ROUTES}
        self.answers["worker-0", "process"] = own_process(1)
        self.browser = TestClient(OneSession(application(self.context)))

    def page(self, path: str = "/engine") -> str:
        """Its text without tags."""
        answer = self.browser.get(path)
        assert answer.status_code == 200, answer.text
        return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.text))


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_what_it_shows(office: Office) -> None:
    """Version, settings, listeners, figures, processes with their ids, restarts, memory and files."""
    text = office.page()
    for words in ("0.1.0", "/etc/cmail/cmail.toml, number 3", "smtp on 0.0.0.0:25"):
        assert words in text
    assert "4 711 messages" in text and "42 recipients" in text
    assert "100 One takes 2.50 ms, for 4.5 changes" in text
    assert re.search(rf"worker-0 running {os.getpid()} 2 \d+ MB – \d+ 12 ", text), text
    assert re.search(r"link waiting – 7 – – – –", text), text


def test_limits(office: Office) -> None:
    """How far each is used; one that is nearly reached is marked."""
    text = office.page()
    assert "12 of 13" in text and "Disk of the data folder" in text and "Open files of worker-0" in text
    body = office.browser.get("/engine").text
    assert re.search(r'class="warn">12 of 13', body) and not re.search(r'class="warn">5 of 400', body)


def test_next_hops(office: Office) -> None:
    """The busiest first; one that rests says how long and why, escaped."""
    body = office.browser.get("/live/engine").text
    at = [
        body.index(words)
        for words in ("The servers of else.example", "Mailboxes here", "The upstream server")
    ]
    assert at == sorted(at) and "no &lt;answer&gt;" in body and "4 of 5" in body


def test_who_does_not_answer(office: Office) -> None:
    """It is named; the page is there all the same."""

    def away(_: dict[str, Any]) -> dict[str, Any]:
        raise ControlError("it does not answer within 4 s", 75)

    for key in (("worker", "status"), ("worker-0", "process"), ("link", "link.status")):
        office.answers[key] = away
    office.context.overviews.forget()
    text = office.page()
    assert "workers does not answer" in text and "the link process does not answer" in text
    office.answers["supervisor", "status"] = away
    assert "supervisor does not answer" in office.page("/live/engine")


def test_settings_are_read_anew(office: Office) -> None:
    """The button asks the supervisor; a file with a mistake in it is told in words."""
    answer = office.browser.post("/engine/reload", data={"csrf": "token"})
    assert "read anew (number 2)" in answer.text
    assert ("supervisor", "reload", {}) in office.processes.asked

    def refuse(_: dict[str, Any]) -> dict[str, Any]:
        raise ControlError("the settings cannot be used: smtp.port", 78)

    office.answers["supervisor", "reload"] = refuse
    answer = office.browser.post("/engine/reload", data={"csrf": "token"})
    assert "smtp.port" in answer.text and "go on" in answer.text


def test_the_figures_of_the_chart(office: Office) -> None:
    """JSON for the script; the table says the same without it; a page without history has neither."""
    chart = json.loads(office.browser.get("/live/history").text)
    assert set(chart) == {"time", "in", "out", "refused", "waiting"} and len(chart["in"]) == 288
    assert office.browser.get("/engine").text.count("<time datetime=") >= 24
    browser = TestClient(OneSession(application(replace(office.context, history=None))))
    assert "came in today" in office.browser.get("/live/today").text
    assert browser.get("/live/today").status_code == 404
    assert browser.get("/live/history").status_code == 404 and "24 hours" not in browser.get("/engine").text


def test_the_certificate(office: Office) -> None:
    """Its end; one that is not there is said."""
    from cmail.storage.self_signed import ensure_certificate

    assert "no such file" in office.page()
    ensure_certificate(office.context.data_dir, "mail.example.org")
    assert re.search(r"self-signed, holds 36\d\d days", office.page())


def test_processes_that_are_gone() -> None:
    """None for them; our own has memory and a start."""
    usage = usage_of(os.getpid())
    assert usage is not None and usage.memory_octets > 1 << 20 and usage.started_ticks > 0
    assert usage_of(2**22 + 1) is None
    assert own_process(5)["files"] > 2


WORDS: Final = [
    ("local", "Mailboxes here"),
    ("mx:else.example", "The servers of else.example"),
    ("odd", "odd"),
]


@pytest.mark.parametrize(("route", "words"), WORDS)
def test_next_hops_in_words(route: str, words: str) -> None:
    """A route is named for people; one that we do not know as it is."""
    assert route_words(route) == words
