"""What becomes of a domain that the DNS denies, by what else is seen; and the DNS that comes back."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from cmail.app import link_confirm
from cmail.app.link_confirm import Confirming
from cmail.link.probe import NAMES, Seen
from cmail.net.dns_client import Word

GOOD = Seen(True, "", dns="good")
BAD = Seen(True, "the DNS knows none", dns="bad")
GONE = Seen(False, "nobody", is_failure=True, dns="bad")
PORTAL = Seen(False, "a page", is_portal=True)


class FakeLink:
    """What of it is asked."""

    def __init__(self) -> None:
        self.reading = SimpleNamespace(is_down=False)
        self.links = SimpleNamespace(carrier=SimpleNamespace(), upstream=())
        self.said_again = asyncio.Event()

    async def say_again(self) -> None:
        """See Link."""
        self.said_again.set()


def confirming(
    word: Word, sights: list[Seen], monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Any, list[Seen]]:
    """One whose probes see this, the last one for ever."""
    failed: list[Seen] = []

    async def probe(*_: object) -> Seen:
        return sights.pop(0) if len(sights) > 1 else sights[0]

    async def word_on(domain: str) -> Word:
        return word

    monkeypatch.setattr(link_confirm, "probe", probe)
    link: Any = FakeLink()
    resolver: Any = SimpleNamespace(word_on=word_on)
    made = Confirming(link, lambda: resolver, lambda link: "", lambda link, seen, target: failed.append(seen))
    return made, link, failed


@pytest.mark.parametrize(
    ("word", "seen", "says"),
    [
        (Word.DENIED, GOOD, "yes"),
        (Word.NO_ANSWER, GOOD, "yes"),
        (Word.THERE, GOOD, "exists"),
        (Word.THERE, PORTAL, "no"),
        (Word.DENIED_BY_ITS_OWN, GONE, "sure"),
        (Word.DENIED, GONE, "no"),
        (Word.DENIED, BAD, "dns"),
        (Word.NO_ANSWER, BAD, "dns"),
        (Word.DENIED, Seen(True, "", dns="strange"), "strange"),
        (Word.DENIED, Seen(False, "SERVFAIL"), "unsure"),
    ],
)
def test_what_a_denial_means(word: Word, seen: Seen, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line, its DNS, or the domain; who finds that the line is gone is told."""

    async def test() -> None:
        made, link, failed = confirming(word, [seen], monkeypatch)
        assert await made.confirm(NAMES, "a.example") == says
        assert bool(failed) == (says == "no")
        made.close()
        link.reading.is_down = True
        assert await made.confirm(NAMES, "a.example") == "no"

    asyncio.run(test())


def test_nothing_that_may_be_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`link.probe = "off"`: what the DNS says is believed, unless it says otherwise when it is asked anew."""

    async def test() -> None:
        for word, says in ((Word.DENIED, "yes"), (Word.THERE, "exists")):
            made, _, failed = confirming(word, [GONE], monkeypatch)
            assert await made.confirm(None, "a.example") == says and not failed

    asyncio.run(test())


def test_a_dns_that_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked until it knows something; then what waits begins, without any link-up."""
    monkeypatch.setattr(link_confirm, "AGAIN_MIN_S", 0.01)

    async def test() -> None:
        made, link, _ = confirming(Word.DENIED, [BAD, BAD, BAD, GOOD], monkeypatch)
        assert await made.confirm(NAMES, "a.example") == "dns"
        assert await made.confirm(NAMES, "b.example") == "dns"
        await asyncio.wait_for(link.said_again.wait(), 20)

    asyncio.run(test())
