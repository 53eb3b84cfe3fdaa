"""Where a recipient goes, what needs the link, and what an alias becomes."""

import pytest

from cmail.delivery.settings import SmtpSettings
from cmail.mail.address import parse_address
from cmail.mail.envelope import Notify, Recipient
from cmail.mail.limits import ALIAS_DEPTH_MAX
from cmail.mail.outcome import Expanded
from cmail.policy.rewriting import Directory
from cmail.policy.routing import RoutingTable
from cmail.queue.router import LOOPS, UNKNOWN, Router, is_loopback
from cmail.storage.spool import QueuedRecipient

TABLE = RoutingTable("mail.example.org", frozenset({"example.org"}), "maildir", "smarthost")
ALIASES = {
    "sales@example.org": ("anna@example.org", "bob@example.net"),
    "boss@example.org": ("anna@example.org",),
}


def router(host: str = "smtp.isp.example") -> Router:
    users = frozenset({"anna@example.org"})
    return Router(TABLE, Directory(users, ALIASES, domains=("example.org",)), SmtpSettings(host=host))


def queued(to: str, notify: Notify = Notify.UNSPECIFIED, depth: int = 0) -> QueuedRecipient:
    return QueuedRecipient(
        0, Recipient(parse_address(to.encode()), notify=notify), "local", alias_depth=depth
    )


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("[IPv6:::1]", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("mx.localhost", True),
        ("smtp.isp.example", False),
        ("192.0.2.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback_is_known_by_name_and_number(host: str, is_here: bool) -> None:
    """What is this machine, whatever the link does."""
    assert is_loopback(host) is is_here


@pytest.mark.parametrize(
    ("route", "host", "needs"),
    [
        ("local", "smtp.isp.example", False),
        ("lmtp", "smtp.isp.example", False),
        ("relay", "smtp.isp.example", True),
        ("relay", "127.0.0.1", False),
        ("mx:example.net", "127.0.0.1", True),
        ("mx:[127.0.0.1]", "smtp.isp.example", False),
    ],
)
def test_what_needs_the_link(route: str, host: str, needs: bool) -> None:
    """All but what is for this machine."""
    assert router(host).needs_link(route) is needs


def test_a_mailbox_is_not_expanded_and_nobody_is_unknown() -> None:
    """None for a mailbox, a failure for nobody."""
    assert router().expand(queued("Anna+list@example.org"), ()) is None
    assert router().expand(queued("nobody@example.org"), ()) == UNKNOWN


def test_others_who_get_it_anyway_are_left_out() -> None:
    """Anna is a recipient herself: the alias adds only bob."""
    others = (Recipient(parse_address(b"anna@example.org")),)
    assert router().expand(queued("sales@example.org"), others) == Expanded(("bob@example.net",))


def test_an_expansion_too_deep_is_a_loop() -> None:
    """Whatever changes between the attempts, it ends."""
    assert router().expand(queued("sales@example.org", depth=ALIAS_DEPTH_MAX), ()) == LOOPS


@pytest.mark.parametrize(
    ("alias", "asked", "inherited"),
    [
        ("boss@example.org", Notify.SUCCESS, Notify.SUCCESS),
        ("sales@example.org", Notify.SUCCESS, Notify.NEVER),
        ("sales@example.org", Notify.SUCCESS | Notify.FAILURE, Notify.FAILURE),
        ("sales@example.org", Notify.UNSPECIFIED, Notify.UNSPECIFIED),
        ("sales@example.org", Notify.NEVER, Notify.NEVER),
    ],
)
def test_stand_ins_inherit_what_was_asked(alias: str, asked: Notify, inherited: Notify) -> None:
    """RFC 3461 §5.2.7: one target inherits NOTIFY, several are not asked for success; ORCPT stays."""
    one = queued(alias, asked, depth=3)
    outcome = router().expand(one, ())
    assert isinstance(outcome, Expanded)
    for stand_in in router().stand_ins(one, outcome):
        assert stand_in.recipient.notify == inherited
        assert stand_in.recipient.orcpt == f"rfc822;{alias}"
        assert stand_in.alias_depth == 4
        assert stand_in.route == TABLE.route(stand_in.recipient.forward_path)
