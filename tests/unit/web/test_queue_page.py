"""Mail Queue Administration: what is looked for, what is meant by a form, and a message that does nothing."""

import base64
import re
import time
from pathlib import Path
from typing import Any, Final

import pytest

from cmail.admin.overview import Overview
from cmail.mail.queue_id import parse_queue_id, print_queue_id
from cmail.net.control import ControlError
from cmail.web.message_view import CONTENT_MAX, inert, subject_of
from cmail.web.pages.queue import ACTIONS, _back
from cmail.web.queue_view import Wanted, read_pick, read_wanted, shown
from tests.unit.web.test_home import HOUR, NOW, House, row

FIRST: Final = parse_queue_id("38G6TPN5J0000")
HEADER: Final = (
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"X-Bad: <script>alert(1)</script><img src=http://evil.example/>\r\n"
    b"X-Ugly: \x1b[31m\x00\xff\r\n"
)


@pytest.fixture
def house(tmp_path: Path) -> House:
    found = House(tmp_path)
    rows = [row(id=print_queue_id(FIRST + n * 4096), to=f"u{n}@example.net") for n in range(250)]

    def some(arguments: dict[str, Any]) -> list[dict[str, Any]]:
        behind = tuple(arguments["after"])
        rest = [r for r in rows if (parse_queue_id(r["id"]), r["position"]) > behind]
        return rest[: arguments["limit"]]

    found.says("worker", "queue.list", some)
    found.says("worker", "queue.figures", {"messages": 250, "recipients": {"queued": 250}, "oldest_ms": NOW})
    found.says("worker", "queue.count", {"recipients": 3})
    found.says("worker", "queue.change", {"recipients": 3})
    found.says("worker", "queue.bounce", {"recipients": 1})
    return found


def test_pages_of_a_hundred(house: House) -> None:
    """The next page begins where the last ended; the last one leads nowhere."""
    seen, path = [], "/queue?state=queued"
    for _ in range(3):
        page = house.browser.get(path).text
        seen += re.findall(r">(u\d+@example\.net)</a>", page)
        following = re.search(r'href="(/queue\?[^"]+)">Next', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert seen == [f"u{n}@example.net" for n in range(250)] and path == ""


def test_what_is_looked_for_goes_to_the_workers(house: House) -> None:
    """All fields, as the filter of the control socket names them."""
    house.browser.get("/queue?from=anna&to=u1&domain=example.net&state=held&reason=grey&older=4h")
    expected = {
        "from": "anna", "to": "u1", "domain": "example.net", "states": ["held"], "reason": "grey",
        "older_than_ms": 4 * HOUR,
    }  # fmt: skip
    assert house.asked("queue.list")[-1]["filter"] == expected
    assert house.asked("queue.count")[-1]["filter"] == expected
    assert 'value="anna"' in house.browser.get("/queue?from=anna").text


OLDER: Final = [("", 0), ("30m", 1_800_000), ("4h", 4 * HOUR), ("2d", 48 * HOUR), ("1w", 168 * HOUR),
                ("4", None), ("h", None), ("-4h", None), ("4y", None), ("٤h", None), ("9999999999h", None)]  # fmt: skip


@pytest.mark.parametrize(("text", "ms"), OLDER)
def test_times_as_people_write_them(text: str, ms: int | None) -> None:
    """30m, 4h, 2d; all else is no time."""
    assert Wanted(older=text).older_ms == ms
    assert bool(Wanted(older=text).error) == (ms is None)


def test_what_cannot_be_looked_for_is_said(house: House) -> None:
    """A wrong time or state is no reason to show everything; a wrong page is none."""
    page = house.browser.get("/queue?older=soon")
    assert page.status_code == 200 and "is no time" in page.text and "u0@example.net" not in page.text
    assert "There is no state" in house.browser.get("/queue?state=eaten").text
    assert house.browser.get("/queue?after=x").status_code == 404
    assert read_wanted({"from": "a\nb"}) == Wanted(), "line ends are no part of an address"


def test_a_selection_means_its_recipients(house: House) -> None:
    """Two boxes: these two recipients, and nothing else of their messages."""
    form = {"do": "flush", "pick": ["38G6TPN5J0000.0", "38G6TPN5J0000.2"], "back": "/queue?from=anna"}
    answer = house.browser.post("/queue/do", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/queue?from=anna")
    [asked] = house.asked("queue.change")
    assert asked == {
        "change": "flush",
        "filter": {"recipients": [["38G6TPN5J0000", 0], ["38G6TPN5J0000", 2]]},
    }
    assert "3 recipients are tried now." in house.browser.get("/queue").text


def test_all_means_the_filter(house: House) -> None:
    """Without a filter everything; with one what fits it, on all pages; ticks do not matter then."""
    house.browser.post("/queue/do", data={"do": "hold", "all": "1", "pick": "38G6TPN5J0000.0"})
    house.browser.post("/queue/do", data={"do": "release", "all": "1", "domain": "example.net"})
    assert [asked["filter"] for asked in house.asked("queue.change")] == [{}, {"domain": "example.net"}]


NOTHING: Final = {
    "nothing is ticked": {"do": "flush"},
    "a box that is not ours": {"do": "flush", "pick": "x"},
    "a position that is none": {"do": "flush", "pick": "38G6TPN5J0000.-1"},
    "no such action": {"do": "eat", "all": "1"},
    "a filter that is not understood": {"do": "delete", "all": "1", "older": "soon", "sure": "1"},
    "a state that is none": {"do": "delete", "all": "1", "state": "x", "sure": "1"},
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_is_done_without_sense(house: House, name: str) -> None:
    """A form that does not say what it means changes nothing, least of all everything."""
    assert house.browser.post("/queue/do", data=NOTHING[name]).status_code == 303
    assert not house.asked("queue.change") and not house.asked("queue.bounce")
    assert 'class="said failed"' in house.browser.get("/queue").text


def test_delete_asks_first(house: House) -> None:
    """How many it would be; then the same form, and it is done."""
    page = house.browser.post(
        "/queue/do", data={"do": "delete", "all": "1", "from": "anna", "back": "/queue"}
    )
    assert page.status_code == 200 and "Delete 3 recipients?" in page.text
    assert not house.asked("queue.change") and house.asked("queue.count")[-1]["filter"] == {"from": "anna"}
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))
    assert house.browser.post("/queue/do", data=fields).status_code == 303
    assert house.asked("queue.change") == [{"change": "delete", "filter": {"from": "anna"}}]
    assert "3 recipients are deleted." in house.browser.get("/queue").text


def test_return_asks_what_to_say(house: House) -> None:
    """The words for the senders go with it."""
    form = {"do": "bounce", "pick": "38G6TPN5J0000.0"}
    assert "What the senders are told" in house.browser.post("/queue/do", data=form).text
    house.browser.post("/queue/do", data={**form, "sure": "1", "because": "Wrong address."})
    [asked] = house.asked("queue.bounce")
    assert asked["reason_given"] == "Wrong address."
    assert asked["filter"] == {"recipients": [["38G6TPN5J0000", 0]]}
    assert "1 recipient is returned" in house.browser.get("/queue").text


def test_what_changed_nothing_is_said_so(house: House) -> None:
    """It may have been delivered meanwhile, or is on hold."""
    house.says("worker", "queue.change", {"recipients": 0})
    house.browser.post("/queue/do", data={"do": "flush", "pick": "38G6TPN5J0000.0"})
    assert "has to be released first" in house.browser.get("/queue").text
    house.says("worker", "queue.count", {"recipients": 0})
    assert (
        house.browser.post("/queue/do", data={"do": "delete", "pick": "38G6TPN5J0000.0"}).status_code == 303
    )


def test_a_worker_that_says_no(house: House) -> None:
    """An action that fails ends on the page where it was begun, with the words of the worker."""

    def no(_: object) -> None:
        raise ControlError("the disk is full", 75)

    house.says("worker", "queue.change", no)
    answer = house.browser.post("/queue/do", data={"do": "flush", "all": "1", "back": "/"})
    assert answer.headers["location"] == "/"
    assert "That did not work: the disk is full." in house.browser.get("/queue").text


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/queue", "/logout", "/queue\r\nX: y", "/queues"]
)
def test_back_is_a_page_of_ours(target: str) -> None:
    """A form never leads elsewhere."""
    assert _back(target) == "/queue"


def a_message(house: House, content: bytes = HEADER, **more: Any) -> str:
    """One message that the workers show; the text of its page."""
    envelope = {
        "id": "38G6TPN5J0000", "from": "anna@example.org", "size": 5_000_000, "arrived_ms": NOW - HOUR,
        "origin": "anna from laptop[192.0.2.7]", "ret": "", "envid": "", "smtputf8": False, "body8bit": False,
        "priority": 0,
    }  # fmt: skip
    recipients = [row(**more), row(position=1, state="delivered", to="carl@example.net", reason="")]
    parts = [{"envelope": envelope}, *({"recipient": each} for each in recipients)]
    house.says("worker", "queue.show", [*parts, {"content": base64.b64encode(content).decode()}])
    return house.browser.get("/queue/38G6TPN5J0000").text


def test_a_message(house: House) -> None:
    """Envelope, each recipient with its state, why and what to do, the raw reply, the header."""
    page = a_message(house)
    assert "<h1>Grüße</h1>" in page and "anna from laptop[192.0.2.7]" in page and "5.0 MB" in page
    assert "(greylisting)" in page and "It is tried again by itself." in page
    assert "<pre>RCPT: 451 4.7.1 Greylisted</pre>" in page
    assert "carl@example.net" in page and "delivered" in page
    assert page.count('name="pick"') == 1, "what is delivered cannot be ticked"
    assert ">Release</button>" not in page, "nothing is on hold"


def test_a_held_message(house: House) -> None:
    """It can be released, not sent."""
    page = a_message(house, state="held", next_ms=0)
    assert ">Release</button>" in page and ">Send now</button>" not in page and "on hold" in page


def test_what_its_sender_holds_can_be_released(house: House) -> None:
    """RFC 4865: it says so, off line too, and the button that sends it now is there."""
    later_ms = int(time.time() * 1000) + 7_260_000
    reason = "its sender wants it sent on Mon, 23 Nov 2026 18:05:44 +0000"
    page = a_message(house, attempts=0, reason=reason, hold_until_ms=later_ms, next_ms=later_ms)
    assert ">Release</button>" in page and "Its sender wants it sent later." in page


def test_content_is_inert(house: House) -> None:
    """Nothing of a message is markup on the page, and no octet of it does anything."""
    for page in (a_message(house), house.browser.get("/queue/38G6TPN5J0000/content").text):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script>" not in page and "<img src=http" not in page
        assert "\x1b" not in page and "\x00" not in page
    assert house.asked("queue.show")[0]["content"] is False
    assert house.asked("queue.show")[-1] == {"id": "38G6TPN5J0000", "content": True, "octets": CONTENT_MAX}


def test_long_content_is_cut(house: House) -> None:
    """And it says so."""
    a_message(house, b"x" * CONTENT_MAX)
    assert "The first 66 KB of 5.0 MB are shown." in house.browser.get("/queue/38G6TPN5J0000/content").text


def test_a_message_that_is_gone(house: House) -> None:
    """Delivered meanwhile, or an id that is none: not found, in words."""

    def gone(_: object) -> None:
        raise ControlError("not there", 67)

    house.says("worker", "queue.show", gone)
    for path in ("/queue/38G6TPN5J0000", "/queue/38G6TPN5J0000/content", "/queue/<x>"):
        page = house.browser.get(path)
        assert page.status_code == 404 and "is not in the queue" in page.text and "<x>" not in page.text


def test_the_log_of_a_message(house: House) -> None:
    """As a page, and as a part that is fetched when somebody looks; an id that is none is not looked for."""
    assert "Back to the message" in house.browser.get("/queue/38G6TPN5J0000/log").text
    assert "<html" not in house.browser.get("/live/queue/38G6TPN5J0000/log").text
    assert house.browser.get("/queue/x/log").status_code == 404
    assert house.browser.get("/live/queue/x/log").status_code == 404


SUBJECTS: Final = [
    (b"Subject: plain\r\n", "plain"),
    (b"subject: =?iso-8859-1?q?=FCber?=\r\n", "über"),
    (b"Subject: =?no-such-charset?q?x?=\r\n", ""),
    (b"Subject: =?utf-8?b?!!!?=\r\n", ""),
    (b"Subject: two\r\n lines\r\n", "two lines"),
    (b"X: y\r\n", ""),
    (b"", ""),
    (b"Subject: " + b"x" * 1000, "x" * 200),
    (b"Subject: \xff\xfe\r\n", None),
    (b"\xff\x00\r\n:\r\n \r\n", ""),
]


@pytest.mark.parametrize(("octets", "subject"), SUBJECTS)
def test_subjects(octets: bytes, subject: str | None) -> None:
    """In plain letters, or none; never an error."""
    found = subject_of(octets)
    assert found.isprintable()
    assert subject is None or found == subject


def test_inert_text() -> None:
    """Lines and tabs stay, the rest is a sign."""
    assert inert(b"a\tb\r\nc\x07\xff") == "a\tb\nc\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "text",
    ["", ".", "38G6TPN5J0000", "38G6TPN5J0000.", "x.0", "38G6TPN5J0000.٤", "38G6TPN5J0000." + "9" * 30],
)
def test_picks_that_are_none(text: str) -> None:
    """A box stands for one recipient or is refused."""
    with pytest.raises(ValueError, match=r"\S"):
        read_pick(text)


def test_a_batch_and_a_link_that_is_down() -> None:
    """The words of a row know how the line is and whether mail is collected."""
    fresh = row(attempts=0, reason="", kind=0, next_ms=0)
    assert shown(fresh, Overview(NOW, queue={"is_link_down": True})).why.name == "off line"
    assert shown(fresh, Overview(NOW, queue={"is_batch": True})).why.name == "batch"
    assert shown(fresh, Overview(NOW)).why.name == "new"
    assert shown(row(next_ms=NOW - 1), Overview(NOW)).is_due
    sent = shown(row(sent_for_ms=0), Overview(NOW))
    assert (
        sent.is_being_sent and sent.why.name == "being sent" and not shown(fresh, Overview(NOW)).is_being_sent
    )


def test_every_action_has_words() -> None:
    """Those that cannot be taken back ask and warn."""
    asking = {name for name, action in ACTIONS.items() if action.question and action.warning}
    assert asking == {"bounce", "delete"}
    assert all("{many}" in action.done and action.nothing for action in ACTIONS.values())


def test_pages_are_quick(house: House) -> None:
    """Rendering a hundred rows takes far less than a person notices (with room for a busy machine)."""
    house.browser.get("/queue")
    begun = time.perf_counter()
    house.browser.get("/queue")
    assert time.perf_counter() - begun < 2
