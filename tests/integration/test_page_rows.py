"""Each column of links, kicks, mailboxes elsewhere and sites, with plain forms as a browser without JavaScript posts them:
what is typed stands in cmail.toml, and the server that runs goes by it, seen from outside."""

import shutil
from collections.abc import Iterator

import pytest

from cmail.web.pages.table_kinds import KINDS
from tests.browser.test_smtp_flow import own
from tests.integration import rows_of_links, rows_of_mailboxes, rows_of_sites
from tests.support.controls import START, House
from tests.support.house import RunningCmail
from tests.support.office import PASSWORD, command
from tests.support.peers import Peers
from tests.support.ports import free_port
from tests.support.rows import COLUMNS
from tests.support.scripted_pop3 import ScriptedPop3

pytestmark = pytest.mark.limit(300)
assert rows_of_links and rows_of_mailboxes and rows_of_sites, "they fill COLUMNS"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("rows")
    users = (("anna@example.org", "secret"), ("carl@example.org", "secret"))
    settings = START.format(port=free_port()) + '\n[[listener]]\nkind = "odmr"\naddress = "127.0.0.1:0"\n'
    with Peers() as peers, RunningCmail(folder, settings=settings, users=users) as cmail:
        own(cmail)
        command(cmail, "page", "password", "--stdin", stdin=PASSWORD + "\n")
        house = House(cmail, peers)
        house.enter()
        yield house


@pytest.mark.parametrize("key", sorted(COLUMNS))
def test_each_column_changes_the_file_and_the_running_server(shared: House, key: str) -> None:
    """Typed into a row that is added, OK, Save Settings: it is in the file, and the server does as it says."""
    before = shared.cmail.config.read_text()
    try:
        COLUMNS[key](shared)
    finally:
        shared.put_back(before)
        if shared.cmail.queue():
            command(shared.cmail, "queue", "delete", "--all")


def test_a_mailbox_whose_password_stands_in_a_file_of_ones_own(shared: House) -> None:
    """Named from where the settings file stands; the server has read it, and Test uses that."""
    server = shared.peers.start(ScriptedPop3())
    before = shared.cmail.config.read_text()
    secret = shared.cmail.folder / "own-password"
    secret.write_text("s3cret!\n")
    shutil.chown(secret, shared.cmail.config.owner())
    secret.chmod(0o600)
    row = f'[[collect]]\nname = "a"\nprotocol = "pop3"\nhost = "127.0.0.1"\nport = {server.port}\ntls = "none"\n'
    row += 'username = "a"\nto = "anna@example.org"\npassword_file = "own-password"\nevery = "0s"\n'
    try:
        shared.cmail.config.write_text(f"{before}\n{row}")
        command(shared.cmail, "config", "reload")
        form = shared.browser.get("/collect/1").form("/collect/1")
        assert "It works" in shared.browser.send("/collect/1/test", form.values).text
        assert "PASS s3cret!" in server.heard
    finally:
        shared.put_back(before)


def test_no_column_is_left_out() -> None:
    """All that the pages of rows have."""
    assert set(COLUMNS) == {f"{kind.key}.{name}" for kind in KINDS for name in kind.columns}
