"""The journal as it is read: search, pages, older days, bounded looks, files that come and go, what is new."""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import pytest

from cmail.admin import journal as journal_module
from cmail.admin import journal_scan
from cmail.admin.events import Event
from cmail.admin.journal import ALL, Batch, Journal, TooManyError
from cmail.admin.journal_scan import BLOCK, Found, Wanted, find
from cmail.admin.journal_tail import EVENTS_MAX, Tail
from cmail.admin.sentences import sentence
from cmail.mail.queue_id import print_queue_id
from cmail.observe import maillog
from tests.support.journal import CLIENT, FORMS, accept, message, new_id, writing

KEPT: Final = ["session", "removed", "sent", "deferred", "accepted", "session"]  # of message(), newest first


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def write(folder: Path, count: int, form: str = "postfix") -> list[str]:
    """So many messages; their names."""
    first = new_id()
    with writing(folder, form):
        for number in range(count):
            message(type(first)(first + number), f"to{number}@example.org", f"from{number}@example.net")
    return [print_queue_id(first + number) for number in range(count)]


def look(
    folder: Path, text: str = "", *kinds: str, limit: int = 1000, before: str = "", **more: Any
) -> Found:
    return find(str(folder), Wanted(text, frozenset(kinds) or ALL), limit, before, **more)


def all_pages(folder: Path, wanted: Wanted, limit: int, **more: Any) -> list[Event]:
    """Page by page to the end."""
    found = find(str(folder), wanted, limit, **more)
    events = list(found.events)
    while found.further:
        assert len(found.events) == limit or found.is_cut
        found = find(str(folder), wanted, limit, found.further, **more)
        events += found.events
    return events


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_pages_have_every_event_once(
    folder: Path, form: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However blocks and pages fall: each event once, newest first, a message that came in with all its lines."""
    monkeypatch.setattr(journal_scan, "BLOCK", 2000)
    monkeypatch.setattr(journal_scan, "OVERLAP", 1000)
    names = write(folder, 40, form)
    events = all_pages(folder, Wanted(kinds=ALL), limit)
    assert [event.kind for event in events] == KEPT * 40
    accepted = [event for event in events if event.kind == "accepted"]
    assert [event.queue_id for event in accepted] == names[::-1]
    assert {event.raw.count("\n") for event in accepted} == {2 if form == "postfix" else 0}
    assert all(event.get("client") == CLIENT for event in accepted)


def test_lines_of_others_between(folder: Path) -> None:
    """What other processes write between the three lines of a message is on some page, whatever the page's end."""
    a, b = new_id(), new_id(1)
    with writing(folder, "postfix"):
        accept(a)
        accept(b)
        maillog.noted("in between")
    [path] = folder.iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[n] for n in (0, 3, 1, 6, 4, 2, 5)))
    for limit in (1, 2, 3):
        events = all_pages(folder, Wanted(), limit)
        assert [event.queue_id for event in events] == [print_queue_id(b), print_queue_id(a), ""]
        assert all(event.raw.count("\n") == 2 for event in events[:2])


@pytest.mark.parametrize("form", FORMS)
def test_search(folder: Path, form: str) -> None:
    """By address, by queue id, by words in any order and case; an address is not found at the end of another."""
    names = write(folder, 30, form)
    everything = look(folder, names[7])
    assert [event.kind for event in everything.events] == ["removed", "sent", "deferred", "accepted"]
    assert [event.kind for event in look(folder, names[7].lower()).events] == KEPT[1:5]
    assert [event.queue_id for event in look(folder, "FROM7@Example.net").events] == [names[7]]
    assert [event.kind for event in look(folder, "to7@example.org").events] == ["sent", "deferred"]
    assert [event.kind for event in look(folder, "greylisted to7@").events] == ["deferred"]
    assert not look(folder, "om7@example.net").events
    assert len(look(folder, "@example.net", "accepted").events) == 30
    assert not look(folder, "to7@example.org", "accepted").events
    assert len(look(folder, f"{CLIENT}", "accepted").events) == 30, "what stands in the first of three lines"


def test_what_a_page_has_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search looks at so many octets and no more, says how far it came, and goes on from there."""
    monkeypatch.setattr(journal_scan, "BLOCK", 4096)
    names = write(folder, 60)
    found = look(folder, "from0@example.net", looked_max=8192)
    assert found.is_cut and not found.events and found.further and found.looked_back_ms == 0
    times = 1
    while found.is_cut:
        found = look(folder, "from0@example.net", before=found.further, looked_max=8192)
        times += 1
    assert [event.queue_id for event in found.events] == [names[0]]
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert times == pytest.approx(size / 8192, abs=2)


def test_a_message_is_not_looked_for_before_it_came(folder: Path) -> None:
    """With a queue id the look ends where the message came in, and no day before is opened."""
    names = write(folder, 3)
    absent = print_queue_id(new_id(99))
    old = f"Jan  1 00:00:00 mx cmail/qmgr[1]: {absent}: removed\n"
    (folder / "2020-01-01.log").write_text(old)
    assert look(folder, names[1]).further == ""
    found = look(folder, absent)
    assert (found.events, found.is_cut, found.further) == ([], False, "")


def days(folder: Path) -> None:
    """Yesterday, today in two pieces."""
    with writing(folder):
        maillog.noted("number 1")
    [path] = folder.iterdir()
    yesterday = time.strftime("%Y-%m-%d", time.localtime(time.time() - 86400))
    path.rename(folder / f"{yesterday}.log")
    for number in (2, 3):
        with writing(folder):
            maillog.noted(f"number {number}")
        if number == 2:
            path.rename(f"{path}.1")


def said(events: Sequence[Event]) -> list[str]:
    return [sentence(event) for event in events]


def test_days(folder: Path) -> None:
    """All days together, newest first; one alone; their list with sizes; one as text, oldest line first."""
    days(folder)
    journal = Journal(str(folder))
    assert said(all_pages(folder, Wanted(), 1)) == ["Number 3.", "Number 2.", "Number 1."]
    kept = asyncio.run(journal.days())
    assert [each.day for each in kept] == sorted((each.day for each in kept), reverse=True) and len(kept) == 2
    assert said(find(str(folder), Wanted(day=kept[1].day), 10).events) == ["Number 1."]
    assert said(find(str(folder), Wanted(day=kept[0].day), 10).events) == ["Number 3.", "Number 2."]
    octets = b"".join(journal.download(kept[0].day))
    assert len(octets) == kept[0].size and octets.index(b"number 2") < octets.index(b"number 3")
    for day in ("2020-01-01", "../../../etc/passwd", "", "2026-11-23.log"):
        with pytest.raises(KeyError):
            journal.download(day)


def test_new_year(folder: Path) -> None:
    """A line of Postfix's has no year: it is that of its file, also where a line of the last second of a year
    stands in the file of the next."""
    folder.mkdir()
    lines = b"Dec 31 23:59:59 mx cmail/main[1]: a\nJan  1 00:00:00 mx cmail/main[1]: b\n"
    for name in ("2025-12-31.log", "2026-01-01.log"):
        (folder / name).write_bytes(lines)
        found = [time.localtime(event.wall_ms / 1000)[:3] for event in look(folder).events[:2]]
        assert found == [(2026, 1, 1), (2025, 12, 31)]


def test_places_outlive_a_file_that_is_set_aside(folder: Path) -> None:
    """Between two pages the file is set aside: the second page goes on where the first ended. One that is gone
    is passed over, and a place that is none begins at the end."""
    write(folder, 10)
    everything = look(folder).events
    first = look(folder, limit=20)
    [path] = folder.iterdir()
    path.rename(f"{path}.1")
    write(folder, 1)
    second = look(folder, limit=1000, before=first.further)
    assert [e.raw for e in [*first.events, *second.events]] == [e.raw for e in everything]
    os.unlink(f"{path}.1")
    assert not look(folder, before=first.further).events
    assert len(look(folder, before="../../x.1.1").events) == len(KEPT)


def test_odd_files(folder: Path) -> None:
    """No folder, an empty file, a last line without its end, a line longer than a block, a link, a pipe: nothing
    hangs or raises."""
    assert look(folder).events == []
    folder.mkdir()
    (folder / "2026-01-01.log").touch()
    os.mkfifo(folder / "2026-01-02.log")
    (folder / "2026-01-03.log").symlink_to("/etc/passwd")
    (folder / "2026-01-04.log").write_bytes(b"x" * (3 * BLOCK) + b"\n")
    (folder / "2026-01-05.log").write_bytes(
        b"Jan  5 00:00:00 mx cmail/main[1]: whole\nJan  5 00:00:00 mx cmail/ma"
    )
    assert said(look(folder).events) == ["Whole."]
    assert Tail(str(folder)).read() == ([], False)


def test_who_sent_it(folder: Path) -> None:
    """An attempt's line has the recipient alone: who sent the mail is found near by, also where other kinds are
    not shown, and in the life of a message each sentence has it."""
    names = write(folder, 20)
    journal = Journal(str(folder))
    found = asyncio.run(journal.find(Wanted(kinds=frozenset(("sent",))), 5))
    assert (
        said(found.events)[0]
        == "Mail from from19@example.net to to19@example.org was delivered to smtp.isp.example."
    )
    attempts = asyncio.run(journal.attempts(names[3]))
    assert [event.what for event in attempts] == ["accepted", "deferred", "sent", "removed"]
    assert all("from3@example.net" in words for words in said(attempts))
    last = asyncio.run(journal.events(5))
    assert [event.kind for event in last] == ["sent", "deferred", "accepted", "sent", "deferred"]


# What is new.


@pytest.mark.parametrize("form", FORMS)
def test_tail(folder: Path, form: str) -> None:
    """Each event once, in its order, from files that are set aside, removed or made anew; half a line waits for
    its other half."""
    write(folder, 1, form)
    tail = Tail(str(folder))
    assert tail.read() == ([], False)
    names = write(folder, 2, form)
    events, is_cut = tail.read()
    assert ([event.kind for event in events], is_cut) == (KEPT[::-1] * 2, False)
    assert sentence(events[2]).startswith("Mail from from0@example.net to to0@example.org")
    assert {event.queue_id for event in events} == {*names, ""}
    [path] = folder.iterdir()
    path.rename(f"{path}.1")
    write(folder, 1, form)
    assert len(tail.read()[0]) == 6
    octets = path.read_bytes()
    with open(path, "ab") as file:
        file.write(octets[:-10])
    before = len(tail.read()[0])
    with open(path, "ab") as file:
        file.write(octets[-10:])
    assert before + len(tail.read()[0]) == 6
    path.unlink()
    write(folder, 1, form)
    assert len(tail.read()[0]) == 6


def test_tail_goes_on_from_its_place(folder: Path) -> None:
    """Who was cut off misses nothing and sees nothing twice; a place that is none is the end."""
    write(folder, 1)
    place = Tail(str(folder)).place
    write(folder, 2)
    tail = Tail(str(folder), place)
    assert len(tail.read()[0]) == 12
    assert Tail(str(folder), tail.place).read()[0] == []
    assert Tail(str(folder), "1.1-x" * 50).read()[0] == []


def test_tail_is_bounded(folder: Path) -> None:
    """Of a flood the newest are shown, and that there was more is said."""
    with writing(folder):
        maillog.noted("first")
    tail = Tail(str(folder))
    with writing(folder):
        for number in range(5000):
            maillog.noted(
                f"number {number} of a flood that nobody can read while it comes, however fast he reads"
            )
    events, is_cut = tail.read()
    assert (len(events), is_cut) == (EVENTS_MAX, True)
    assert sentence(events[-1]).startswith("Number 4999")
    assert tail.read() == ([], False)


def test_streams(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first word says where we are; what is wanted comes as it happens; there is room for a few, and an end
    for all."""
    monkeypatch.setattr(journal_module, "LOOK_S", 0.01)
    monkeypatch.setattr(journal_module, "STREAMS_MAX", 2)

    async def run() -> None:
        journal = Journal(str(folder))
        wanted = Wanted("to1@example.org", frozenset(("sent",)))
        async with aclosing(journal.stream(wanted)) as one, aclosing(journal.stream(Wanted())) as two:
            assert (await anext(one)).events == []
            await anext(two)
            with pytest.raises(TooManyError):
                await anext(journal.stream(Wanted()))
            await asyncio.to_thread(write, folder, 3)
            batch: Batch = await anext(one)
            assert said(batch.events) == [
                "Mail from from1@example.net to to1@example.org was delivered to smtp.isp.example."
            ]
            await two.aclose()
            three = journal.stream(Wanted(), batch.after)
            assert (await anext(three)).events == []
            journal.close()
            assert [batch async for batch in three] == []

    asyncio.run(run())
