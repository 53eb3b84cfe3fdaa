"""The agents of a worker: how many connections a route gets, which hosts are ours."""

from pathlib import Path

import pytest

from cmail.app.agents import Agents
from cmail.app.settings import Settings
from cmail.app.snapshot import Snapshot
from cmail.delivery.settings import ForwardSettings, SmtpSettings
from cmail.link.clock import LinkReading, LinkView
from cmail.policy.orders import FREE, Orders
from cmail.settings import HostSettings
from tests.support.clock import FakeClock


def agents(folder: Path, orders: Orders, workers: int) -> Agents:
    settings = Settings(
        host=HostSettings(data_dir=str(folder)),
        smtp=SmtpSettings(host="smtp.isp.example"),
        forward=(ForwardSettings("else.example", "mx.lan:26"),),
    )
    clock = FakeClock()
    link = LinkView(clock, LinkReading(), orders)
    return Agents(Snapshot(1, "", "", settings), workers, frozenset(), lambda address: None, clock, link)


@pytest.mark.parametrize(
    ("route", "rate", "workers", "expected"),
    [
        ("relay", 0, 2, 10),
        ("relay", 256, 1, 2),
        ("relay", 256, 2, 1),
        ("relay", 256, 8, 1),
        ("mx:example.net", 64, 1, 2),
        ("relay", 100_000, 2, 10),
        ("host:mx.lan:26/none", 256, 1, 20),
        ("local", 256, 1, 2),
    ],
)
def test_thin_link_has_few_connections(
    route: str, rate: int, workers: int, expected: int, tmp_path: Path
) -> None:
    """One that streams fills it, and more would only take turns; what does not go over it is left alone."""
    found = agents(tmp_path, Orders(rate=rate) if rate else FREE, workers)
    assert found.connections_max(route) == expected
    found.close()


def test_hosts_of_the_settings_are_known_to_the_resolver(tmp_path: Path) -> None:
    """For them an old answer does at once."""
    found = agents(tmp_path, FREE, 1)
    assert found.resolver.ours == {"smtp.isp.example", "mx.lan"}
    found.close()
