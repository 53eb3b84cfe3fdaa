"""The Link: what it shows of links, plan, kicks, mailboxes, sites and exchanges, and what its buttons ask for."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from cmail.admin import latest
from cmail.net.control import ControlError, NotRunningError
from cmail.web.application import application
from cmail.web.context import WebContext
from tests.support import fake_link
from tests.support.fake_web import FakeProcesses, OneSession, fake_context

HOSTILE = "<script>alert(1)</script>"
PARTS = ("/live/link", "/live/link/plan", "/live/link/elsewhere", "/live/link/history")


class House:
    """The pages, and processes that have much to tell."""

    def __init__(self, folder: Path) -> None:
        self.context: WebContext
        self.processes: FakeProcesses
        self.context, self.processes = fake_context(folder)
        self.browser = TestClient(
            OneSession(application(self.context)), base_url="http://mail.example.org", follow_redirects=False
        )

    def says(self, process: str, question: str, answer: Any) -> None:
        self.processes.answers[process, question] = answer
        self.context.overviews.forget()

    def status(self, **more: Any) -> None:
        """link.status says this beside what it said before."""
        self.says("link", "link.status", {**self.processes.answers["link", "link.status"], **more})

    def text(self, path: str = "/link") -> str:
        """What a person reads there."""
        page = self.browser.get(path)
        assert page.status_code == 200
        return plain(page.text)

    def press(self, path: str, **fields: str) -> str:
        """A button, and the page that follows; what is said on it."""
        answer = self.browser.post(path, data=fields)
        assert answer.status_code == 303 and answer.headers["location"] == "/link"
        page = self.browser.get("/link").text
        return " ".join(re.findall(r'<p class="said[^>]*>(.*?)</p>', page, re.DOTALL))

    def asked(self, question: str) -> list[dict[str, Any]]:
        return [arguments for _, asked, arguments in self.processes.asked if asked == question]


def plain(html: str) -> str:
    """Without tags, one space where there are many."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


@pytest.fixture
def house(tmp_path: Path) -> House:
    found = House(tmp_path)
    fake_link.tell_much(found.processes)
    return found


def test_a_house_without_any_of_it(tmp_path: Path) -> None:
    """One line, nothing planned, nobody to be kicked: no empty tables, and what is not known is said."""
    house = House(tmp_path)
    text = house.text()
    assert "On line" in text and "Nobody knows when the next one is." in text
    assert "Not known: link does not know link.plan" in text
    house.says("link", "link.plan", {})
    house.says("link", "link.history", {"exchanges": []})
    house.says("link", "collect.status", {"accounts": []})
    house.says("worker", "site.list", [])
    line = {"name": "line", "state": "unknown", "why": "there is no way to the Internet, and never was one"}
    house.status(links=[line], exchange={"is_planned": False, "is_always": True, "is_open": True})
    text = house.text()
    assert "Nothing waits for the Internet." in text and "There was none yet." in text
    assert "None are planned: mail goes whenever the line is up." in text
    assert "The line counts as not known: there is no way to the Internet" in text
    page = house.browser.get("/link").text
    assert not [part for part in ("kick", "elsewhere", "sites", "links") if f'id="{part}-title"' in page]
    assert "Collect now" not in page and "Kick now" not in page


def test_each_link(house: House) -> None:
    """Name, devices, state and why, what it may carry, rate, cost, what was used; the one by which mail goes."""
    text = house.text()
    assert "Mail goes by satellite" in text and "satellite mail goes by it tun3" in text
    assert "fibre eth0 down since" in text and "eth0 has no carrier" in text
    assert "256 kbit/s 4.50 a MiB" in text and "17 MiB of 40 MiB" in text
    assert "its window: 22:00-06:00, Mon-Fri 12:00-13:00" in text
    assert "the 200 MiB of today are used; it rests until midnight" in text


def test_the_countdown_and_the_plan(house: House) -> None:
    """When the next exchange is, what goes in it, why in that order, how long each and all takes, what stays, and
    what no link can carry with what to do."""
    page = house.browser.get("/link").text
    left = re.search(r'class="countdown" data-left="(\d+)">([^<]*)<', page)
    assert left and 745 <= int(left[1]) <= 750 and left[2].startswith("12 min ")
    text = plain(page)
    assert re.search(r"(At|Tomorrow at) \d\d:\d\d: every 1 hour", text)
    assert "as soon as 20 messages wait" in text
    assert (
        "31 messages wait for the Internet, 6.4 MB, 1 of them urgent. 29 go, 3.9 MB; that takes 2 min 2 s"
        in text
    )
    assert "2 messages stay: the links that are up may not carry them now." in text
    orders = [
        "urgent, small",
        "has a deadline",
        "under 1 s small (up",
        "medium (up to 1 MiB)",
        "large (over 1 MiB)",
        "can wait, small",
    ]
    assert [text.index(each) for each in orders] == sorted(text.index(each) for each in orders)
    assert "1.9 MB 59 s large" in text and "and 22 more" in text
    assert "anna@example.org to press@example.net , 60 MiB. It cannot fit: it has 60 MiB" in text
    assert "Release lets it be tried all the same" in text
    assert house.asked("queue.list")[-1]["filter"] == {"states": ["held"], "reason": "cannot fit"}


def test_a_plan_without_a_rate(house: House) -> None:
    """Nobody knows how long it takes, and that is said."""
    house.says("link", "link.plan", fake_link.plan(rate=0, takes_s=None))
    text = house.text()
    assert "How long it takes is not known: the link has no rate in the settings." in text
    assert "Takes" not in text and "that takes" not in text


def test_budgets_of_windows(house: House) -> None:
    """What is used of each, on a meter; what of the plan goes before it is used."""
    status = house.processes.answers["link", "link.status"]
    fibre, lte, satellite = status["links"]
    lte = {**lte, "window_budget": 4 << 20, "used_in_window": 9 << 20, "counted_by": "exchange"}
    house.says("link", "link.status", {**status, "links": [fibre, lte, satellite]})
    page, text = house.browser.get("/link").text, house.text()
    assert "17 MiB of 40 MiB today" in text and "5 MiB of 20 MiB in this window" in text
    assert "9 MiB of 4 MiB in this exchange" in text and "no limit" in text
    assert 'value="4194304" aria-label="Used of the budget of lte in this exchange"' in page
    assert "before the budget" not in text
    house.says("link", "link.plan", fake_link.plan(left=1 << 20))
    assert "But no more than 1 MiB before the budget of the link is used" in house.text()


def test_an_exchange_that_goes_on(house: House) -> None:
    """Since when, until when, what has gone."""
    gone = {"messages_out": 5, "octets_out": 70_000, "messages_in": 1, "octets_in": 900, "cost": 0.3}
    begin = fake_link.now_ms() - 60_000
    more = {
        "is_open": True,
        "why": "its window is open",
        "begin_ms": begin,
        "until_ms": begin + 7_200_000,
        **gone,
    }
    house.status(exchange=fake_link.exchange(**more))
    text = house.text()
    assert "An exchange goes on since" in text and "Its window is open. It ends" in text
    assert "Out so far: 5 messages, 70 KB. In: 1 message, 900 octets. Cost: 0.30." in text
    assert "A kick waits" not in text
    house.status(
        exchange=fake_link.exchange(**more | {"until_ms": 0, "latest_ms": begin, "is_working": True})
    )
    text = house.text()
    assert re.search(r"It ends when all that may go has gone, \S*\s*at \d\d:\d\d at the latest\.", text)
    assert "at the latest. A kick waits for its answer, or mail is being collected." in text


def test_off_line(house: House) -> None:
    """Why; nothing is offered that cannot be done; what is missed is made up for."""
    house.status(is_down=True, words="satellite is down: it was taken down by hand (cmail link down)")
    page = house.browser.get("/link").text
    text = plain(page)
    assert "Off line" in text and "Why: satellite is down: it was taken down by hand" in text
    assert "one that is missed is made up for as soon as the line is up" in text
    buttons = set(re.findall(r"<button[^>]*>([^<]*)</button>", page))
    assert buttons - {"Log out"} == {"On line", "Put up", "Take down", "Fetch all of it"}
    assert "Off line nothing is collected." in text


def test_an_exchange_that_is_missed_off_line(house: House) -> None:
    """It is made up for at link-up: no time is counted down to."""
    due = fake_link.exchange(next_ms=fake_link.now_ms() - 1)
    house.status(is_down=True, words="fibre is down", exchange=due)
    text = house.text()
    assert "as soon as the line is up It was due (every 1 hour)." in text and " in now" not in text


def test_kicks_mailboxes_and_sites(house: House) -> None:
    """Each step of the plan with what was said and what came of it; each mailbox; each site."""
    text = house.text()
    assert "ATRN: mail comes over the same connection odmr.isp.example, port 366 mail came" in text
    assert "no mail came" in text and "no mail came within 120 s" in text and "not tried yet" in text
    assert "250 OK now reversing the connection answered: 3 messages have come" in text
    assert "anna IMAP, anna4711 at imap.isp.example, for anna@example.org listens for new mail" in text
    assert "failed 4 min ago: the password is wrong" in text
    assert "number 17, 13 MB: too large, its beginning was delivered." in text
    assert "ship ship.example.org 12 messages, 3.1 MB" in text and "it is here now" in text
    assert "That is as much as may: more is refused for now." in text
    house.status(is_kicking=True)
    assert "It is under way." in house.text("/live/link/elsewhere")


def test_the_last_exchanges(house: House) -> None:
    """Fifty, the older ones one click away: when, how long, why, by which link, how much, what it cost, how kicks and
    collections ended."""
    page = house.browser.get("/link").text
    assert page.count('data-label="Lasted"') == 50 and "<summary>40 older ones</summary>" in page
    text = plain(page)
    assert "it is time again (every 1 hour)" in text and "0.31" in text and "0 messages 0 octets" in text
    assert "all that may go has gone kick: answered (atrn odmr.isp.example)" in text
    house.says("link", "link.history", {"exchanges": [fake_link.entry(0, end_ms=0, ended="", cost=0.0)]})
    text = house.text("/live/link/history")
    assert "goes on" in text and "Cost" not in text and "older" not in text


def test_words_of_others_are_escaped_and_short(house: House) -> None:
    """A server that was kicked, a mailbox, a site or a device may say whatever it likes."""
    long = HOSTILE * 100
    step = fake_link.kick_step("finger", HOSTILE, state="sent", said=long, then=long, text=long)
    house.status(
        links=[fake_link.link(HOSTILE, why=long, devices=[HOSTILE])],
        kick={"steps": [step], "ending": HOSTILE, "ended_ms": 1},
        words=long,
    )
    row = fake_link.listed()[0]
    house.says("link", "link.plan", fake_link.plan(listed=[{**row, "from": HOSTILE, "to": [HOSTILE]}]))
    account = fake_link.account(HOSTILE, words=long, is_ok=False, username=HOSTILE, counts={"left": 1})
    house.says("link", "collect.status", {"accounts": [account], "trouble": long, "is_online": True})
    house.says(
        "link", "collect.list", {"messages": [{**fake_link.left()[1], "name": HOSTILE, "words": long}]}
    )
    house.says("worker", "site.list", [fake_link.site(HOSTILE, how=long)])
    entry = fake_link.entry(1, why=HOSTILE, link=HOSTILE, ended=HOSTILE, kicks=[long], collections=[long] * 4)
    house.says("link", "link.history", {"exchanges": [entry]})
    page = house.browser.get("/link").text
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert HOSTILE.replace("<", "&lt;").replace(">", "&gt;") * 20 not in page, (
        "no more than some hundred letters"
    )


def test_processes_that_do_not_answer(house: House) -> None:
    """The page is there, and says what it does not know."""

    def silent(_: object) -> None:
        raise NotRunningError("it does not answer")

    for name, question in list(house.processes.answers):
        house.says(name, question, silent)
    text = house.text()
    assert "Nobody knows how the line is" in text and "Not known: it does not answer" in text
    assert "Not all is known: it does not answer" in text


@pytest.mark.parametrize("path", PARTS)
def test_live_parts_are_parts(house: House, path: str) -> None:
    """What is refreshed has no frame around it."""
    part = house.browser.get(path)
    assert part.status_code == 200 and "<html" not in part.text and "<section" in part.text


def test_an_exchange_by_hand(house: House) -> None:
    """It begins, or does its work once more; off line there is none, in words."""
    house.says("link", "link.exchange", {"is_new": True})
    assert "An exchange begins" in house.press("/link/exchange")
    house.says("link", "link.exchange", {"is_new": False})
    assert "goes on already" in house.press("/link/exchange")
    house.says("link", "link.exchange", refuse("there can be no exchange now: eth0 has no carrier", 75))
    assert "That did not work: there can be no exchange now: eth0 has no carrier." in house.press(
        "/link/exchange"
    )


def test_collect_now_starts_both_together(house: House) -> None:
    """One question for kick and collection; of one mailbox alone nobody is kicked."""
    house.says("link", "link.collect", {"is_kicked": True, "collects": ["anna", "info"]})
    said = house.press("/link/collect")
    assert "The kick begins, and mail is collected from anna, info, both at once." in said
    assert house.asked("link.collect") == [{"kick": True, "collect": True, "names": []}]
    house.says("link", "link.collect", {"is_kicked": False, "collects": ["anna"]})
    assert "Mail is collected from anna." in house.press("/link/collect", name="anna")
    assert house.asked("link.collect")[-1] == {"kick": False, "collect": True, "names": ["anna"]}
    house.says("link", "link.collect", {"is_kicked": True, "collects": []})
    assert "no mailbox is to be collected from" in house.press("/link/collect")
    house.says("link", "link.collect", {"is_kicked": True, "collects": ["a", "b", "c", "d"]})
    assert "from 4 mailboxes" in house.press("/link/collect")


def test_kick_and_fetch(house: House) -> None:
    """Kick now begins the plan; Fetch all of it names a message."""
    house.says("link", "link.collect", {"is_kicked": True, "collects": []})
    assert "The kick begins." in house.press("/link/kick")
    assert house.asked("link.collect") == [{"kick": True, "collect": False}]
    house.says("link", "collect.fetch", {"result": None, "told": "it is being fetched"})
    assert "It is being fetched." in house.press("/link/fetch", name="catch-all", id="17")
    assert house.asked("collect.fetch") == [{"name": "catch-all", "id": 17, "is_waited_for": False}]
    assert "That did not work" in house.press("/link/fetch", name="catch-all", id="x")


def test_one_link_by_hand(house: House) -> None:
    """What follows from it is said: the line is down now, or mail still goes by another."""
    house.says("link", "link.down", {"is_down": False, "link": "lte"})
    assert "Noted of satellite. Mail still goes by lte." in house.press("/link", to="down", name="satellite")
    assert house.asked("link.down") == [{"name": "satellite"}]
    house.says("link", "link.down", {"is_down": True, "words": "x"})
    assert "The link satellite is down" in house.press("/link", to="down", name="satellite")
    house.says("link", "link.up", {"is_down": True, "words": "fibre is down: eth0 has no carrier"})
    said = house.press("/link", to="up")
    assert "Mail for the Internet still waits: fibre is down" in said, "nothing is said as if it had worked"
    house.says("link", "link.up", {"is_down": False})
    assert "On line: everything that waits for the line starts now." in house.press("/link", to="up")
    answer = house.browser.post("/link", data={"to": "up", "back": "https://evil.example/"})
    assert answer.headers["location"] == "/link", "it leads nowhere else"


def refuse(words: str, code: int) -> Callable[[object], None]:
    """An answer that says no."""

    def answer(_: object) -> None:
        raise ControlError(words, code)

    return answer


def test_a_link_process_that_hangs_holds_up_no_page(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan, history and the rest are asked for, not waited for; what is known of the line is shown."""
    ask = house.processes.ask

    async def hang(name: str, question: str, /, **arguments: Any) -> Any:
        if question != "link.status" and (name == "link" or question == "site.list"):
            await asyncio.sleep(3600)
        return await ask(name, question, **arguments)

    monkeypatch.setattr(house.processes, "ask", hang)
    monkeypatch.setattr(latest, "PATIENCE_S", 0.01)
    text = house.text()
    assert "Mail goes by satellite" in text and "Much waits, and it is being counted." in text
    assert text.count("it is being counted.") == 3 and "What goes then" in text
