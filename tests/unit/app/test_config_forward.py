"""[[forward]]: domains that another server has, as the file may say them."""

import pytest

from cmail.app.config import load_text
from cmail.settings import SettingError

HOST = '[host]\nhostname = "mail.example.org"\ndomains = ["example.org", "example.net"]\n'


def forward(domain: str, host: str = "192.168.7.2") -> str:
    """One table."""
    return f'[[forward]]\ndomain = "{domain}"\nhost = "{host}"\n'


def test_a_domain_leads_to_its_host() -> None:
    """Small letters, port 25 and encryption where the host can, unless the file says another."""
    text = HOST + forward("Branch.Example.org.") + forward("b.example", "[fd00::1]:2525") + 'tls = "none"\n'
    found = load_text(text, is_machine_checked=False).forward
    assert [(each.domain, each.route) for each in found] == [
        ("branch.example.org", "host:192.168.7.2:25/opportunistic"),
        ("b.example", "host:fd00::1:2525/none"),
    ]


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (forward("EXAMPLE.net"), "forward[1].domain", "in host.domains too"),
        (forward("mail.example.org"), "forward[1].domain", "the host name"),
        (forward("b.example") + forward("B.example"), "forward[2].domain", "forwarded already"),
        (forward("not a domain"), "forward[1].domain", "is not a domain name"),
        (forward("192.0.2.1"), "forward[1].domain", "IP address"),
        (forward("b.example", "unix:/run/x"), "forward[1].host", "must be a host"),
        (forward("b.example", "mail:99999"), "forward[1].host", "not a port"),
        (forward("b.example", "mail:0"), "forward[1].host", "1 to 65535"),
        (forward("b.example", "two words"), "forward[1].host", "space"),
        (forward("b.example", "a_b..c"), "forward[1].host", "is not a domain name"),
        (forward("b.example") + 'tls = "some"\n', "forward[1].tls", "must be"),
        ("[[forward]]\n", "forward[1].domain", "missing"),
        ("[forward]\n", "forward", "[[forward]]"),
    ],
)
def test_what_cannot_be_is_refused(text: str, key: str, words: str) -> None:
    """Each mistake is said at its place, alone."""
    with pytest.raises(SettingError) as caught:
        load_text(HOST + text, is_machine_checked=False)
    problems = [p for p in caught.value.problems if p.key == key]
    assert len(problems) == 1
    assert words in problems[0].reason
