"""Where nobody says a port: the one that the standards name, then the one that hosts have too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.atrn_hub import AtrnHub, hub_context
from tests.support.cut_house import command, serve_both_ways, status
from tests.support.house import reachable, wait_for
from tests.support.netns import FAR, Net, There
from tests.support.sink_mx import SinkMx

pytestmark = [pytest.mark.needs("root", "ip"), pytest.mark.limit(400)]

BESIDE, THIRD = "10.77.0.2", "10.77.0.3"


@pytest.fixture
def net() -> Iterator[Net]:
    """One wire, and three hosts behind it."""
    with Net() as made:
        made.wire("wire")
        for host in (BESIDE, THIRD):
            made.there("addr", "add", f"{host}/32", "dev", "lo")
        yield made


def test_ports_that_nobody_has_said(net: Net, tmp_path: Path) -> None:
    """ATRN at 366, though something listens at 25, and at 25 where nothing listens at 366 (RFC 2645 §1); ETRN at
    25 (RFC 1985), and at 587 where nothing listens at 25."""
    password = reachable(tmp_path) / "hub-password"
    password.write_text("secret\n")
    password.chmod(0o600)
    log_in = f'username = "site"\npassword_file = "{password}"\ntls = "opportunistic"\n'
    steps = [("atrn", FAR), ("atrn", BESIDE), ("etrn", FAR), ("etrn", THIRD)]
    plan = "".join(
        f'\n[[link.kick]]\nmethod = "{method}"\nhost = "{host}"\nwait = "1s"\nrepeat = 0\n'
        + (log_in if method == "atrn" else "")
        for method, host in steps
    )
    said = {"ETRN": b"251 2.0.0 nothing waits\r\n"}
    hubs = [
        AtrnHub([], tls=hub_context(host)[0], host=host, port=port)
        for host, port in ((FAR, 366), (BESIDE, 25))
    ]
    sinks = [SinkMx(host=host, port=port, script=said) for host, port in ((FAR, 25), (THIRD, 587))]
    with There(net, *hubs, *sinks), serve_both_ways(net, tmp_path, plan) as cmail:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        wait_for(lambda: not status(cmail)["is_kicking"], "the kick of the start")
        for hub in hubs:
            hub.heard.clear()
        for sink in sinks:
            sink.heard.clear()
        print(command(cmail, "link", "kick"))
        assert [[line for line in hub.heard if "ATRN" in line] for hub in hubs] == [["ATRN example.org"]] * 2
        assert [sink.lines("ETRN") for sink in sinks] == [["ETRN example.org"]] * 2
