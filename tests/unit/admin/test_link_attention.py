"""What of the link needs attention: for the page and `cmail status`, with what to do."""

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from cmail.admin.link_attention import AWAY_LONG_MS, WORDS_MAX, LinkFinder, of_held, of_link, of_sites
from cmail.admin.overview import Overview
from tests.support import fake_link
from tests.support.fake_web import FakeProcesses, fake_context

NOW: Final = 1_800_000_000_000


def trouble(fault: str, since_ms: int, words: str = "the password is wrong") -> dict[str, Any]:
    return {
        "collect_troubles": [{"name": "anna", "words": words, "fault": fault, "since_ms": NOW - since_ms}]
    }


def unanswered(**more: Any) -> dict[str, Any]:
    step = fake_link.kick_step("etrn", "mx.isp.example", state="unanswered", said="250 OK, queuing")
    return {"kick": {"steps": [step, fake_link.kick_step("atrn", "x")], "ending": "unanswered"}, **more}


CASES: Final = {
    "wrong password": (trouble("log-in", 1000), "No mail is collected from anna: the password is wrong."),
    "a server that is away for a moment": (trouble("network", AWAY_LONG_MS - 1), ""),
    "a server that is away for long": (
        trouble("network", AWAY_LONG_MS, "no answer"), "No mail could be collected from anna for 60 min: no answer."
    ),
    "no mail after a kick": (unanswered(), "no mail has come. The last answer was: 250 OK, queuing."),
    "kicked once more": (unanswered(is_kicking=True), ""),
    "off line it is no wonder": (unanswered(is_down=True), ""),
    "mail came": ({"kick": {"steps": [], "ending": "answered"}}, ""),
    "a budget": (
        {"links": [fake_link.link("lte", budget=200 << 20, is_used_up=True), fake_link.link("fibre")]},
        "The link lte has used the 200 MiB of today: it rests until midnight.",
    ),
    "a budget of its window": (
        {"links": [fake_link.link("lte", window_budget=5 << 20, is_window_used_up=True)]},
        "The link lte has used the 5 MiB of this window: it rests until the next.",
    ),
    "a budget of an exchange": (
        {"links": [fake_link.link("lte", window_budget=5 << 20, is_window_used_up=True, counted_by="exchange")]},
        "The link lte has used the 5 MiB of this exchange: it rests until the next.",
    ),
    "nothing": ({}, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_the_link_process_says(name: str) -> None:
    """Each trouble as one sentence and an advice; what is none says nothing."""
    link, expected = CASES[name]
    found = of_link(link, NOW)
    assert len(found) == bool(expected)
    assert all(expected in each.words and each.advice and each.path.startswith("/link#") for each in found)


def test_words_of_a_server_are_short() -> None:
    """Whatever it says."""
    [found] = of_link(trouble("log-in", 0, "x" * 5000), NOW)
    assert len(found.words) < WORDS_MAX + 100


def test_what_is_held_and_sites() -> None:
    """Mail that no link can carry; a site whose limit is reached."""
    assert of_held(0) == [] and "1 recipient's mail is on hold" in of_held(1)[0].words
    assert "for 3 recipients" in of_held(3)[0].words and of_held(3)[0].path == "/queue?state=held"
    [found] = of_sites([fake_link.site("ship"), fake_link.site("farm", messages=9, messages_max=9)])
    assert "the site farm" in found.words and "9 messages, 3 MiB" in found.words


def test_the_finder_asks_for_no_more_than_it_must(tmp_path: Path) -> None:
    """Workers are asked what is held only when something is, and not each second; for sites only when there are."""
    context, processes = fake_context(tmp_path)
    fake_link.tell_much(processes)
    assert asyncio.run(LinkFinder(processes, lambda: False)(Overview(NOW))) == []
    assert processes.asked == []
    finder = LinkFinder(processes, lambda: True)
    overview = Overview(NOW, queue={"recipients": {"held": 2}})
    for _ in range(2):
        words = [each.words for each in asyncio.run(finder(overview))]
        assert len(words) == 2 and "larger than what any link" in words[0] and "site farm" in words[1]
    assert count(processes, "queue.count") == 1 and count(processes, "site.list") == 2
    assert context.processes is processes


def test_workers_that_are_away(tmp_path: Path) -> None:
    """What the link process says is told all the same."""
    _, processes = fake_context(tmp_path)
    overview = Overview(NOW, link=trouble("log-in", 0), queue={"recipients": {"held": 2}})
    assert len(asyncio.run(LinkFinder(processes, lambda: True)(overview))) == 1


def count(processes: FakeProcesses, question: str) -> int:
    return sum(asked == question for _, asked, _ in processes.asked)
