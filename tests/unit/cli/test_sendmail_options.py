"""sendmail understands the command lines of the programs that call it."""

from typing import Any

import pytest

from cmail.cli.exits import Exit, Refusal
from cmail.cli.sendmail_options import Options, parse_options
from cmail.mail.envelope import Notify

LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "php": ("-t -i", {"is_from_header": True, "ignores_dot": True}),
    "cluster": ("-ti", {"is_from_header": True, "ignores_dot": True}),
    "cron": ("-FCronDaemon -i -odi -oem -oi -t -f root", {"full_name": "CronDaemon", "is_from_header": True, "ignores_dot": True, "sender": "root"}),
    "cron of debian": ("-i -FCronDaemon -B8BITMIME -oem root", {"full_name": "CronDaemon", "ignores_dot": True, "recipients": ["root"]}),
    "mutt": ("-oem -oi -f a@example.org -- b@example.org c@example.org", {"ignores_dot": True, "sender": "a@example.org", "recipients": ["b@example.org", "c@example.org"]}),
    "mutt with dsn": ("-N failure,delay -R hdrs -- b", {"notify": Notify.FAILURE | Notify.DELAY, "ret": "HDRS", "recipients": ["b"]}),
    "git": ("-i b@example.org", {"ignores_dot": True, "recipients": ["b@example.org"]}),
    "attached": ("-fa@example.org b", {"sender": "a@example.org", "recipients": ["b"]}),
    "null sender": ("-f <> b", {"sender": "", "recipients": ["b"]}),
    "-r": ("-r a b", {"sender": "a", "recipients": ["b"]}),
    "options behind": ("b -v", {"recipients": ["b"], "is_verbose": True}),
    "unknown with value": ("-h 3 -X /tmp/log -L tag -O DeliveryMode=b -p SMTP:x b", {"recipients": ["b"]}),
    "unknown without": ("-U -G -n -m b", {"recipients": ["b"]}),
    "exim": ("-oMr SMTP b", {"recipients": ["b"]}),
    "queue": ("-bp", {"mode": "p"}),
    "smtp": ("-bs", {"mode": "s"}),
    "aliases": ("-bi", {"mode": "i"}),
    "aliases, old": ("-I", {"mode": "i"}),
    "flush": ("-q", {"mode": "q"}),
    "flush often": ("-q30m", {"mode": "q"}),
    "flush some": ("-qRexample.org", {"mode": "q", "flush": "Rexample.org"}),
    "config": ("-C /etc/x -t", {"config": "/etc/x", "is_from_header": True}),
    "long config": ("--config /etc/x -t", {"config": "/etc/x", "is_from_header": True}),
    "envid": ("-V abc -N success b", {"envid": "abc", "notify": Notify.SUCCESS, "recipients": ["b"]}),
}  # fmt: skip
WRONG = {"no value": "-f", "notify": "-N sometimes b", "never and": "-N never,delay b", "ret": "-R some b"}


@pytest.mark.parametrize("name", LINES)
def test_command_lines(name: str) -> None:
    """What each line means."""
    line, expected = LINES[name]
    assert parse_options(line.split()) == Options(**expected)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_lines(name: str) -> None:
    """A value that is missing or means nothing is a mistake of usage."""
    with pytest.raises(Refusal) as refused:
        parse_options(WRONG[name].split())
    assert refused.value.code == Exit.USAGE
