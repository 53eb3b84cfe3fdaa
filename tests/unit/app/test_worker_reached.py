"""Where mail went is told to the link process; who has taken mail is no stranger."""

import asyncio
from ipaddress import ip_address

import pytest

from cmail.app import worker_reached
from cmail.app.worker_reached import WorkerReached
from cmail.delivery.hosts import Host
from cmail.net.control import ControlError, Fields
from tests.support.link_process import LinkProcess


def test_where_mail_went_is_told_until_it_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the line is in doubt, or nobody hears it, it is said again in a moment, and not in a minute: what the DNS
    denies then is asked where mail went. What a log-in page may have taken before a link-down is told no more."""
    answers = iter([{"is_noted": False}, None, {"is_noted": True}, {"is_noted": False}])

    def answer(_fields: Fields) -> Fields:
        if (said := next(answers)) is None:
            raise ControlError("away")
        return said

    link = LinkProcess(answer)

    def told() -> list[object]:
        return [fields["names"] for _, fields in link.asked]

    async def test() -> None:
        made = WorkerReached(link, list, asyncio.Event())
        made.delivered("mx:a.example")
        for _ in range(5):
            await made.tell()
        assert told() == [["a.example"]] * 3
        monkeypatch.setattr(worker_reached, "TELL_EVERY_S", 0.0)
        made.delivered("mx:page.example")
        await made.tell()
        made.link_is_down()
        await made.tell()
        assert told()[3:] == [["page.example"]]

    asyncio.run(test())


def test_what_is_told_of_where_mail_went() -> None:
    """Domains by their names, hosts by address and port, the latest last; routes without a domain are none, and
    of very many the oldest are not told."""
    link = LinkProcess(lambda _: {})

    async def test() -> None:
        made = WorkerReached(link, list, asyncio.Event())
        for route in ("relay", "mx:[192.0.2.1]", "mx:b.example", "mx:a.example", "mx:b.example"):
            made.delivered(route)
        made.took(Host("mx.a.example", ip_address("192.0.2.7"), 25))
        await made.tell()
        fields = {"names": ["a.example", "b.example"], "hosts": [["192.0.2.7", 25]]}
        assert link.asked == [("link.seen", fields)]
        for number in range(100):
            made.delivered(f"mx:{number}.example")
        made._told_at.clear()
        await made.tell()
        assert link.asked[1][1]["names"] == [f"{number}.example" for number in range(92, 100)]

    asyncio.run(test())


def test_who_has_taken_mail_is_no_stranger() -> None:
    """Until a log-in page stood in between: each of them may have been the page. The first time is news."""
    is_news = asyncio.Event()
    made = WorkerReached(LinkProcess(lambda _: {}), list, is_news)
    host = Host("mx.a.example", ip_address("192.0.2.7"), 25)
    assert made.is_stranger(str(host)) and not made.is_stranger("none")
    made.took(host)
    assert not made.is_stranger(str(host)) and is_news.is_set()
    is_news.clear()
    made.took(host)
    assert not is_news.is_set()
    made.forget_hosts()
    assert made.is_stranger(str(host))
