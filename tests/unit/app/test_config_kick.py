"""[[link.kick]] in the settings file: what is wrong is said with its place, and nothing is half obeyed."""

from typing import Any

import pytest

from cmail.app.config import load_text
from cmail.app.config_checks_kick import kick_notes
from cmail.link.settings import KickSettings
from cmail.settings import SettingError

HEAD = '[host]\nhostname = "mail.example.org"\ndomains = ["example.org"]\ndata_dir = "/nowhere"\n'
HOST = '[smtp]\nhost = "smtp.isp.example"\n'


def problems(kick: str, smtp: str = HOST) -> list[tuple[str, str]]:
    """Key and reason of all that is wrong."""
    try:
        load_text(HEAD + smtp + "[[link.kick]]\n" + kick, is_machine_checked=False)
    except SettingError as error:
        return [(problem.key, problem.reason) for problem in error.problems]
    return []


GOOD = [
    'method = "finger"',
    'method = "etrn"\nhost = "192.0.2.1"\nport = 587\ntext = "@example.org"',
    'method = "etrn"\nhost = "2001:db8::1"\ntext = "#office"',
    'method = "etrn"\nusername = "anna"\npassword_file = "/x"\ntls = "required"',
    'method = "atrn"\nusername = "anna"\npassword_file = "/x"\ntext = "*"',
    'method = "string"\ntext = "QSND\\\\r\\\\n"\nwait = "10s"\nrepeat = 0',
    'method = "command"\ncommand = ["/usr/bin/true"]',
]
BAD = {
    'method = "turn"': "method",
    'host = "a.example"': "method",
    'method = "finger"\nhost = "a b"': "host",
    'method = "finger"\nhost = "a.example:79"': "host",
    'method = "finger"\nhost = "a.example:25"': "host",
    'method = "finger"\nport = 70000': "port",
    'method = "finger"\nwait = "2h"': "wait",
    'method = "finger"\nwait = "0s"': "wait",
    'method = "finger"\nrepeat = 101': "repeat",
    'method = "finger"\nrepeat = -1': "repeat",
    'method = "finger"\ncommand = ["/usr/bin/true"]': "command",
    'method = "finger"\nusername = "anna"': "username",
    'method = "finger"\ntext = "ü"': "text",
    'method = "string"': "text",
    'method = "string"\ntext = "\\\\x"': "text",
    'method = "etrn"\ntext = "a b"': "text",
    'method = "etrn"\nusername = "anna"': "password_file",
    'method = "etrn"\npassword_file = "/x"': "username",
    'method = "atrn"': "username",
    'method = "atrn"\nusername = "anna"\npassword_file = "/x"\ntext = "@example.org"': "text",
    'method = "command"': "command",
    'method = "command"\ncommand = ["true"]': "command",
}


@pytest.mark.parametrize("kick", GOOD)
def test_what_can_be(kick: str) -> None:
    """Each method, with what belongs to it."""
    assert problems(kick) == []


@pytest.mark.parametrize("kick", BAD)
def test_what_cannot_be(kick: str) -> None:
    """One problem, at its key."""
    assert [key for key, _ in problems(kick)] == [f"link.kick[1].{BAD[kick]}"]


def test_somebody_has_to_be_kicked() -> None:
    """No host here and no SMTP host: said at once, not at link-up."""
    assert [key for key, _ in problems('method = "etrn"', "")] == ["link.kick[1].host"]
    assert problems('method = "command"\ncommand = ["/usr/bin/true"]', "") == []


def test_a_plan_is_bounded() -> None:
    """Twenty steps are enough for everybody."""
    kicks = '[[link.kick]]\nmethod = "finger"\n' * 20
    assert [key for key, _ in problems('method = "finger"\n' + kicks)] == ["link.kick"]


@pytest.mark.parametrize("tls", ["none", "opportunistic", "required", "implicit"])
def test_a_password_for_who_is_not_verified_is_worth_a_word(tls: Any) -> None:
    """The one of a kick, as that of the SMTP host and of a mailbox; without a log-in there is none."""
    kicks = [
        KickSettings("etrn", tls=tls),
        KickSettings("etrn", tls=tls, username="anna", password_file="/x"),
    ]
    said = kick_notes(kicks)
    assert len(said) == (tls in ("none", "opportunistic"))
    assert all("link.kick number 2" in each and "is not verified" in each for each in said)
