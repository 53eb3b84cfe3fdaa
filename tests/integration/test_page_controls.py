"""Each control of the three pages of settings, with plain forms as a browser without JavaScript posts them: what is
typed stands in cmail.toml, and the server that runs goes by it, seen from outside; Reset takes it out again."""

from collections.abc import Iterator

import pytest

from cmail.web.pages import advanced
from tests.browser.test_smtp_flow import own
from tests.integration import controls_of_limits, controls_of_links, controls_of_mail
from tests.support.controls import KEYS, START, WAYS, House
from tests.support.house import RunningCmail
from tests.support.office import PASSWORD, command
from tests.support.peers import Peers
from tests.support.ports import free_port

pytestmark = pytest.mark.limit(300)
assert controls_of_limits and controls_of_links and controls_of_mail, "they fill WAYS"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("controls")
    users = (("anna@example.org", "secret"), ("carl@example.org", "secret"))
    settings = START.format(port=free_port())
    with Peers() as peers, RunningCmail(folder, settings=settings, users=users) as cmail:
        own(cmail)
        command(cmail, "page", "password", "--stdin", stdin=PASSWORD + "\n")
        house = House(cmail, peers)
        house.enter()
        house.send("anna@example.org")
        yield house


@pytest.fixture
def house(shared: House) -> Iterator[House]:
    yield shared
    if shared.cmail.queue():
        command(shared.cmail, "queue", "delete", "--all")


@pytest.mark.parametrize("key", sorted(WAYS))
def test_each_control_changes_the_file_and_the_running_server(house: House, key: str) -> None:
    """Typed, OK, Save Settings: it is in the file, and the server does otherwise than before."""
    _, _, way = WAYS[key]
    before = house.cmail.config.read_text()
    try:
        way(house)
    finally:
        house.put_back(before)


def test_no_control_is_left_out() -> None:
    """All that the three pages have, but for the tables of listeners and forwarding and the password, which are
    tried in tests/browser/test_smtp_flow.py."""
    assert set(WAYS) == set(KEYS)


def test_reset_brings_each_default_back(house: House) -> None:
    """A button at each control that is not at its default; with Save Settings the key is out of the file."""
    before = house.cmail.config.read_text()
    try:
        house.ok({key: typed for key, (typed, _, _) in WAYS.items() if KEYS[key] == "/advanced"})
        house.save()
        for key in advanced.DIALOG.keys:
            house.browser.post("/advanced", "/advanced", {}, ("reset", key))
        house.save()
        assert [key for key in advanced.DIALOG.keys if house.file(key) is not None] == []
    finally:
        house.put_back(before)
