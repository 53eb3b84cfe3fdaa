"""What the settings mean for the parts of a worker."""

from dataclasses import replace
from typing import Any

import pytest

from cmail.app.settings import Settings
from cmail.app.snapshot import Snapshot
from cmail.app.worker_rules import account_rules, literals_of, routing_table, upstream_of
from cmail.delivery.settings import ForwardSettings, LocalSettings, SmtpSettings
from cmail.delivery.site_settings import SiteSettings
from cmail.mail.address import parse_address
from cmail.policy.routing import LOCAL, RELAY
from cmail.settings import HostSettings


def test_address_literals_that_mean_us() -> None:
    """Those that we listen on by name: not every address of the machine, and no name."""
    hosts = ["192.0.2.1", "2001:db8::1", "0.0.0.0", "::", "mx.example.org", "192.0.2.1"]
    assert literals_of(hosts) == {"[192.0.2.1]", "[IPv6:2001:db8::1]"}
    assert literals_of([]) == frozenset()


def test_where_a_domain_leads() -> None:
    """Ours, forwarded, of a site, anybody's; a literal that means us is ours."""
    forward, site = (
        ForwardSettings(domain="old.example", host="10.0.0.1"),
        SiteSettings(name="ship", domains=("s.example",)),
    )
    settings = Settings(host=HostSettings(domains=("example.org",)), forward=(forward,), site=(site,))
    table = routing_table(settings, frozenset({"[192.0.2.1]"}))
    ours = {table.route(parse_address(b"anna@" + name)) for name in (b"example.org", b"[192.0.2.1]")}
    assert ours == {LOCAL}
    assert table.route(parse_address(b"a@old.example")) == forward.route
    assert table.route(parse_address(b"a@s.example")) == "site:ship"
    assert table.route(parse_address(b"a@other.example")) == RELAY


def test_each_worker_counts_its_share_of_failed_log_ins() -> None:
    """Of one worker that is all of them."""
    limits = Settings().limits
    alone, among = account_rules(Settings(), 1), account_rules(Settings(), 8)
    assert alone.failures_per_address == limits.login_failures_per_address > among.failures_per_address
    assert alone.failures_per_account == limits.login_failures_per_account > among.failures_per_account
    assert not alone.is_lmtp and account_rules(Settings(local=LocalSettings(delivery="lmtp")), 1).is_lmtp


@pytest.mark.parametrize(
    ("changed", "is_other"),
    [
        ({}, False),
        ({"host": "smtp.other.example"}, True),
        ({"port": 465}, True),
        ({"tls": "implicit"}, True),
        ({"username": "anna"}, True),
        ({"delivery": "mx"}, False),
    ],
)
def test_which_settings_mean_another_upstream_server(changed: dict[str, Any], is_other: bool) -> None:
    """What waits for it is tried at once then."""
    before = Snapshot(1, "", "", Settings(smtp=SmtpSettings(host="smtp.isp.example")))
    after = replace(before, settings=replace(before.settings, smtp=replace(before.settings.smtp, **changed)))
    assert (upstream_of(before) != upstream_of(after)) is is_other
    assert upstream_of(before) != upstream_of(replace(before, smtp_password="other"))
