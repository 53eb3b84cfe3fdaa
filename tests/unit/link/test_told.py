"""Told: which orders held when, over restarts; a file that makes no sense begins anew."""

from pathlib import Path

import pytest

from cmail.link.told import Told, read_told
from cmail.policy.heard import KEPT_MAX, Heard
from cmail.policy.orders import FREE, NOTHING, Orders
from tests.unit.queue.house import LogBook

SMALL = Orders(size_max=1000)
CLOSED = Orders(is_exchange_open=False)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    """Only what may keep mail is news; after a restart it goes on, bounded."""
    path = str(tmp_path / "told.json")
    log = LogBook()
    told = Told(path, log)
    told.open()
    assert told.note(100, SMALL)
    assert not told.note(150, Orders(size_max=1000, rate=256, words="satellite"))
    assert told.note(200, CLOSED)
    told.save(told.octets())
    assert read_told(path, log) == [(100, SMALL), (200, CLOSED)]
    again = Told(path, log)
    again.open()
    assert not again.note(300, CLOSED)
    for n in range(2 * KEPT_MAX):
        again.note(1000 + n, Orders(size_max=n))
    again.save(again.octets())
    assert len(read_told(path, log)) == KEPT_MAX and not log.texts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"orders": 7}',
        '{"orders": [[1, 2, 3]]}',
        '{"orders": [[1, 2, 3, 1]]}',
        '{"orders": [["1", 2, 3, true]]}',
        '{"orders": [[1, 1e400, 3, true]]}',
        f'{{"orders": [[1, {1 << 70}, 3, true]]}}',
        "[" * 100_000,
        "\0" * 400_000,
    ],
)
def test_a_file_that_makes_no_sense(tmp_path: Path, text: str) -> None:
    """It is said, and nothing is known of the time before."""
    path, log = tmp_path / "told.json", LogBook()
    path.write_text(text)
    assert read_told(str(path), log) == [] and len(log.texts) == 1
    assert not read_told(str(tmp_path / "none.json"), LogBook())


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A folder that is gone."""
    log = LogBook()
    told = Told(str(tmp_path / "away" / "told.json"), log)
    told.note(1, FREE)
    told.save(told.octets())
    assert "cannot be written" in log.texts[0]


def test_what_is_known_of_the_time_before_us_counts() -> None:
    """Kept for 900 of 1000 ms before a restart: 100 of them were chances, and all since."""
    before = [(0, FREE), (100, Orders(size_max=NOTHING)), (100, CLOSED)]
    heard = Heard(FREE, 1000, before)
    assert heard.admitted_ms(10, 0, 0, 1200) == 300
    assert heard.admitted_ms(10, 0, 500, 1200) == 200
