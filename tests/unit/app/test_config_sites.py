"""[[site]]: servers that come and go, as the file may say them."""

import pytest

from cmail.app.config import load_text, notes
from cmail.settings import SettingError

HOST = '[host]\nhostname = "mail.example.org"\ndomains = ["example.org"]\n'
FORWARD = '[[forward]]\ndomain = "branch.example"\nhost = "192.168.7.2"\n'


def site(name: str = "ship", domains: str = '"ship.example"', more: str = 'user = "ship@example.org"') -> str:
    """One table."""
    return f'[[site]]\nname = "{name}"\ndomains = [{domains}]\n{more}\n'


def test_a_site() -> None:
    """Domains in small letters, a route of its name, no way of its own unless the file says one."""
    text = HOST + site(domains='"Ship.Example.", "b.example"') + site("farm", '"farm.example"')
    text += 'host = "[2001:db8::7]:2525"\n'
    ship, farm = load_text(text, is_machine_checked=False).site
    assert ship.domains == ("ship.example", "b.example") and ship.route == "site:ship" and not ship.endpoint
    assert farm.endpoint is not None and (farm.endpoint.host, farm.endpoint.port) == ("2001:db8::7", 2525)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        (site("a b"), "site[1].name", "letters"),
        (site("a:b"), "site[1].name", "letters"),
        (site("a" * 41), "site[1].name", "40 signs at most"),
        ("".join(site(f"a{n}", f'"a{n}.example"') for n in range(1001)), "site", "1000 sites at most"),
        (site() + site("SHIP", '"b.example"'), "site[2].name", "another site"),
        (site(domains=""), "site[1].domains", "is empty"),
        (site(domains='"a..b"'), "site[1].domains", "not a domain"),
        (site(domains='"192.0.2.1"'), "site[1].domains", "not a domain"),
        (site(domains='"EXAMPLE.org"'), "site[1].domains", "host.domains"),
        (site(domains='"mail.example.org"'), "site[1].domains", "host name"),
        (FORWARD + site(domains='"branch.example"'), "site[1].domains", "[[forward]]"),
        (site() + site("b"), "site[2].domains", "of site ship"),
        (site(more=""), "site[1].user", "nobody could ever ask"),
        (site(more='user = "ship"'), "site[1].user", "address of an account"),
        (site(more='networks = ["0.0.0.0/0"]'), "site[1].networks", "whole Internet"),
        (site(more='networks = ["192.0.2.1/24"]'), "site[1].networks", "the network itself is 192.0.2.0/24"),
        (site() + 'host = "unix:/x"\n', "site[1].host", "must be a host"),
        (site() + 'host = "a:0"\n', "site[1].host", "1 to 65535"),
        (site() + 'stays = "0s"\n', "site[1].stays", "at least 1s"),
        (site() + "messages = -1\n", "site[1].messages", "0 (no limit)"),
        (site() + 'tls = "some"\n', "site[1].tls", "must be"),
        ("[site]\n", "site", "[[site]]"),
    ],
)
def test_what_cannot_be_is_refused(text: str, key: str, words: str) -> None:
    """Each mistake is said at its place."""
    with pytest.raises(SettingError) as caught:
        load_text(HOST + text, is_machine_checked=False)
    assert [p for p in caught.value.problems if p.key == key and words in p.reason], caught.value


@pytest.mark.parametrize("kind", ["odmr", "finger"])
def test_a_listener_that_nobody_can_use_is_worth_a_word(kind: str) -> None:
    """It is allowed."""
    text = HOST + f'[[listener]]\nkind = "{kind}"\naddress = "127.0.0.1:0"\n'
    assert any(f'"{kind}"' in note for note in notes(load_text(text, is_machine_checked=False)))
    more = text + site(more='user = "ship@example.org"\nnetworks = ["192.0.2.0/28"]')
    assert not any(f'"{kind}"' in note for note in notes(load_text(more, is_machine_checked=False)))
