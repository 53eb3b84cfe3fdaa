"""Rows of links, kicks, mailboxes elsewhere and sites as sentences: what each setting adds to them."""

from pathlib import Path
from typing import Any, Final

import pytest

from cmail.web.pages.table_kinds import COLLECT, KICK, KINDS, SITE, VIA, TableKind
from cmail.web.pages.table_rows import sentence_of
from tests.support.fake_web import fake_context

MAILBOX: Final = {
    "name": "a",
    "protocol": "imap",
    "host": "imap.example",
    "username": "anna",
    "to": "anna@example.org",
}
SITE_ROW: Final = {"name": "ship", "domains": ["ship.example"], "user": "ship@example.org"}
CASES: Final[list[tuple[TableKind, dict[str, Any], str]]] = [
    (VIA, {"name": "a"}, "All mail may use it. Its state is told by hand or by hooks alone."),
    (VIA, {"name": "a", "device": ["eth0"]}, "It is there when eth0 is."),
    (VIA, {"name": "a", "use": "nothing"}, "No mail may use it."),
    (
        VIA,
        {"name": "a", "device": ["ppp0", "wwan*"], "use": "small", "rate": 256, "cost": 0.5, "largest": "2MiB"}
        | {"budget": "20MiB", "window_budget": "5MiB", "window": ["22:00-06:00", "Sun 00:00-24:00"]},
        "Small and urgent mail may use it, at 256 kbit/s, messages up to 2 MiB, at most 20 MiB a day,"
        " at most 5 MiB in one of its windows, only 22:00-06:00 and Sun 00:00-24:00, a MiB costs 0.5. It is there when ppp0 or wwan* is.",
    ),
    (VIA, {"name": "a", "window_budget": "5MiB"}, "All mail may use it, at most 5 MiB in an exchange."),
    (KICK, {"method": "finger"}, "Says our first domain to the SMTP Host. Mail has 2 minutes to come. Tried again once."),
    (KICK, {"method": "connect", "host": "a.example", "port": 79}, "Opens a connection to a.example, port 79."),
    (KICK, {"method": "string", "text": "hello"}, "Says 'hello' to the SMTP Host."),
    (KICK, {"method": "etrn", "username": "us", "repeat": 0, "wait": "1h"}, "ETRN for the mail of our first domain, as us."),
    (KICK, {"method": "etrn", "repeat": 0, "wait": "1h"}, "Mail has 1 hour to come."),
    (KICK, {"method": "atrn", "text": "a.example", "repeat": 3}, "Takes the mail of a.example from the SMTP Host by ATRN"),
    (KICK, {"method": "atrn", "repeat": 3}, "Tried again 3 times."),
    (KICK, {"method": "command", "command": ["/bin/ask", "now"]}, "Runs /bin/ask now."),
    (
        COLLECT,
        MAILBOX,
        "Mail of anna at imap.example (IMAP, encrypted) goes to anna@example.org, every 15 minutes and as soon as it"
        " comes. What has come is deleted there.",
    ),
    (COLLECT, {**MAILBOX, "protocol": "pop3", "every": "0s"}, "at link-up and in exchanges."),
    (COLLECT, {**MAILBOX, "to": "@example.org", "keep": True}, "goes to everybody at example.org, sorted"),
    (COLLECT, {**MAILBOX, "keep": True}, "It stays there."),
    (COLLECT, {**MAILBOX, "largest": 1000, "tls": "none"}, "Of messages above 1000 octets only a preview comes."),
    (COLLECT, {**MAILBOX, "tls": "none"}, "(IMAP, unencrypted)"),
    (SITE, SITE_ROW, "Mail for ship.example is kept until it logs in as ship@example.org."),
    (SITE, {**SITE_ROW, "networks": ["192.0.2.0/28"]}, "logs in as ship@example.org or it asks from 192.0.2.0/28."),
    (SITE, {**SITE_ROW, "host": "a.example"}, ", and then sent to a.example."),
    (SITE, {**SITE_ROW, "largest": "2MiB"}, "Messages above 2 MiB wait until it asks for them."),
    (SITE, {**SITE_ROW, "messages": 500, "size": "1GiB"}, "At most 500 messages or 1 GiB wait."),
    (SITE, {"name": "ship", "domains": 5}, "What cmail.toml says of it is wrong."),
    (VIA, {"name": "a", "cost": "much"}, "What cmail.toml says of it is wrong."),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "row", "words"), CASES)
def test_a_row_in_words(tmp_path: Path, kind: TableKind, row: dict[str, Any], words: str) -> None:
    """As it stands in the list of its page."""
    context, _ = fake_context(tmp_path)
    assert words in sentence_of(kind, context.desk.settings()[kind.key], row)


def test_each_kind_has_cases() -> None:
    """A kind that is new needs its sentences looked at."""
    assert {kind.key for kind, _, _ in CASES} == {kind.key for kind in KINDS}
