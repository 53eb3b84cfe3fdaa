"""The order of hosts: preference first, chance among equals."""

import asyncio
from collections import Counter

from cmail.delivery.hosts import Host, MxRouter, by_preference, literal_address
from cmail.world import MxRecord
from tests.support.fake_dns import SERVFAIL, FakeResolver


class Turns:
    """Entropy that goes through a row of numbers."""

    def __init__(self, *numbers: float) -> None:
        self._numbers = list(numbers)

    def jitter(self) -> float:
        self._numbers.append(self._numbers.pop(0))
        return self._numbers[-1]


def test_lower_preference_comes_first_and_equals_are_shuffled() -> None:
    """RFC 5321 §5.1: every order of equals comes up, none of them before a better host."""
    records = [MxRecord(20, "d"), MxRecord(10, "a"), MxRecord(10, "b"), MxRecord(10, "c"), MxRecord(10, "a")]
    seen = Counter[str]()
    for x in range(10):
        for y in range(10):
            first, second = by_preference(records, Turns(x / 10, y / 10))
            assert second == ["d"] and sorted(first) == ["a", "b", "c"]
            seen["".join(first)] += 1
    assert len(seen) == 6


def hosts(resolver: FakeResolver, domain: str = "example.net") -> list[str]:
    router = MxRouter(
        resolver, Turns(0.0), "mail.example.org", lambda address, port: str(address) == "192.0.2.99"
    )

    async def main() -> list[Host]:
        return [host async for host in router.hosts(domain, 25)]

    return [str(host) for host in asyncio.run(main())]


def test_hosts_that_are_not_found_are_passed_over() -> None:
    """One broken MX name does not stop the others; our own cuts itself, its equals and what is behind."""
    resolver = FakeResolver(
        {"example.net": [(10, "a"), (20, "b"), (30, "c"), (40, "me"), (40, "d"), (50, "e")]},
        {"a": SERVFAIL, "b": [], "c": ["192.0.2.3", "2001:db8::3"], "me": ["192.0.2.99"], "d": ["192.0.2.4"],
         "e": ["192.0.2.5"]},
    )  # fmt: skip
    assert hosts(resolver) == ["c[192.0.2.3]:25", "c[2001:db8::3]:25"]
    assert "A e" not in resolver.asked


def test_later_hosts_are_looked_up_only_when_needed() -> None:
    """The first group's addresses are all that a working domain costs."""

    async def main() -> None:
        resolver = FakeResolver(
            {"example.net": [(10, "a"), (20, "b")]}, {"a": ["192.0.2.1"], "b": ["192.0.2.2"]}
        )
        router = MxRouter(resolver, Turns(0.0), "mail.example.org", lambda address, port: False)
        found = router.hosts("example.net", 25)
        assert str(await anext(found)) == "a[192.0.2.1]:25"
        assert resolver.asked == ["MX example.net", "A a"]
        await found.aclose()

    asyncio.run(main())


def test_literals() -> None:
    """Both families, with brackets or without; a name is none."""
    for text, expected in (
        ("[192.0.2.1]", "192.0.2.1"),
        ("[IPv6:2001:db8::1]", "2001:db8::1"),
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "::1"),
        ("example.org", "None"),
        ("[example]", "None"),
    ):
        assert str(literal_address(text)) == expected
