"""Trouble: what lasts is told, what is over is not, once each."""

from collections.abc import Iterator

import pytest

from cmail.observe import trouble


@pytest.fixture(autouse=True)
def nothing() -> Iterator[None]:
    """Each test begins and ends without trouble."""
    trouble.forget()
    yield
    trouble.forget()


def test_what_lasts_is_told_until_it_ends() -> None:
    """begin() is news once, the same words of two things are one line, and end() takes it back."""
    assert trouble.begin("a", "no room") and not trouble.begin("a", "no room")
    trouble.begin("b", "no room")
    assert trouble.is_any() and trouble.current() == ["no room"]
    assert trouble.end("a") and trouble.end("b") and not trouble.end("b")
    assert not trouble.is_any() and trouble.current() == []


def test_what_is_over_is_looked_for() -> None:
    """Where nobody comes by, current() looks; a disk that fails at the look is still in trouble."""

    def fails() -> bool:
        raise OSError(5, "Input/output error")

    trouble.begin("a", "over", lambda: True)
    trouble.begin("b", "lasts", lambda: False)
    trouble.begin("c", "fails", fails)
    assert trouble.current() == ["lasts", "fails"]


def test_there_is_a_limit() -> None:
    """A thousand mailboxes with a fault each are not a thousand lines."""
    for number in range(2 * trouble.KEPT_MAX):
        trouble.begin(f"mailbox {number}", f"{number}")
    assert len(trouble.current()) == trouble.KEPT_MAX
