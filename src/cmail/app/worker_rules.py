"""What the settings say to the parts of a worker, in the words of each: routes, accounts, upstream server."""

from collections.abc import Iterable
from ipaddress import ip_address

from cmail.app.settings import Settings
from cmail.app.snapshot import Snapshot
from cmail.policy.places import share_of
from cmail.policy.routing import RoutingTable
from cmail.storage.accounts import AccountRules


def routing_table(settings: Settings, own_literals: frozenset[str]) -> RoutingTable:
    """Where mail goes, by its domain."""
    host = settings.host
    return RoutingTable(
        host.hostname,
        frozenset(host.domains),
        settings.local.delivery,
        settings.smtp.delivery,
        own_literals,
        {each.domain: each.route for each in settings.forward}
        | {domain: each.route for each in settings.site for domain in each.domains},
    )


def account_rules(settings: Settings, workers_count: int) -> AccountRules:
    """What holds for users and their log-ins; each worker counts its share of those that fail."""
    limits = settings.limits
    return AccountRules(
        settings.host.hostname,
        settings.host.domains,
        settings.local.separator,
        settings.smtp.advanced.refuse_unknown_users,
        settings.local.delivery == "lmtp",
        share_of(limits.login_failures_per_address, workers_count),
        share_of(limits.login_failures_per_account, workers_count),
    )


def upstream_of(snapshot: Snapshot) -> tuple[object, ...]:
    """Which upstream server is meant, and how we come to it."""
    settings, smtp = snapshot.settings, snapshot.settings.smtp
    return smtp.host, smtp.port, smtp.tls, smtp.username, snapshot.smtp_password, settings.tls.ca_file


def literals_of(hosts: Iterable[str]) -> frozenset[str]:
    """The address literals that mean us: those that we listen on by name."""
    return frozenset(filter(None, map(_literal, hosts)))


def _literal(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    if address.is_unspecified:
        return ""
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"
