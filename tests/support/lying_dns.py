"""LyingDns: the DNS behind a router with a log-in page; while it lies, every name has one address."""

from typing import Any

import dns.message

from tests.support.fake_dns import FakeDnsServer
from tests.support.netns import FAR


class LyingDns(FakeDnsServer):
    """On the far host; `lie` is the address, "" for the truth."""

    lie = ""

    def __init__(self, records: dict[Any, Any]) -> None:
        super().__init__(records, host=FAR, port=53)

    def answer(self, octets: bytes, *, is_udp: bool) -> bytes | None:
        """See FakeDnsServer."""
        if not self.lie:
            return super().answer(octets, is_udp=is_udp)
        question = dns.message.from_wire(octets).question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        truth, self.records = self.records, {(name, "A"): [self.lie]}
        try:
            return super().answer(octets, is_udp=is_udp)
        finally:
            self.records = truth
