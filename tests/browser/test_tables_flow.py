"""A person sets up what comes and goes: a mailbox elsewhere with its password, links, kicks, a site; each holds after Save
Settings, without a restart; with scripts and without."""

import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.browser.test_smtp_flow import Flow, own
from tests.support.browser import chromium, log_in, window
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.office import PASSWORD, command
from tests.support.peers import Peers
from tests.support.scripted_pop3 import ScriptedPop3
from tests.support.sink_mx import SinkMx

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.limit(300)]
MAIL: Final = (
    b"Subject: from elsewhere\r\nMessage-ID: <1@example.net>\r\nFrom: bob@example.net\r\n\r\nHello.\r\n"
)
STRANGERS: Final = '[relay]\nnetworks = ["192.0.2.0/24"]\n'


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def flow(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flow]:
    settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"') + STRANGERS
    users = (("anna@example.org", "secret"), ("ship@example.org", "sail"))
    with Peers() as peers:
        with (
            RunningCmail(tmp_path, settings=settings, users=users) as cmail,
            chromium() as launched,
            window(launched, has_scripts=request.param) as page,
        ):
            own(cmail)
            command(cmail, "page", "password", "--stdin", stdin=PASSWORD + "\n")
            found = Flow(cmail, SinkMx(), peers, page)
            log_in(page, found.url, PASSWORD)
            yield found
            assert [each for each in page.complaints if "422" not in each] == []


def follow(flow: Flow, words: str) -> None:
    """A link of the page with these words."""
    with flow.page.expect_navigation():
        flow.page.locator(f"main a:has-text('{words}')").first.click()


def fill(flow: Flow, key: str, **values: str | bool) -> None:
    """The controls of a row, then OK."""
    flow.enter({name if name == "password" else f"{key}.{name}": value for name, value in values.items()})
    flow.press("OK")


def test_a_mailbox_elsewhere(flow: Flow) -> None:
    """Added with what is wrong said beside its control, tried, saved: its mail is here. Its password stands in a file
    that only the server can read, is shown nowhere, changed, and gone with the mailbox."""
    server = flow.peers.start(ScriptedPop3([("uid1", MAIL)]))
    flow.go("/collect")
    assert "None. Mail comes by SMTP alone." in flow.page.inner_text("main")
    follow(flow, "Add a mailbox")
    typed = {"name": "anna", "host": "127.0.0.1", "port": str(server.port), "username": "anna4711"}
    fill(flow, "collect", **typed, protocol="pop3", tls="none", to="nobody", password="s3cret!")
    assert "neither an address here" in flow.page.inner_text('[id="field-collect.to"]')
    assert (
        flow.page.input_value("#password") == "" and flow.page.input_value('[name="collect.name"]') == "anna"
    )
    flow.enter({"collect.to": "anna@example.org", "password": "s3cret!"})
    flow.press("Test")
    assert "one message waits there" in flow.page.inner_text("#tried")
    assert "it is not saved yet" in flow.page.inner_text("main")
    assert "collect" not in flow.file() and "PASS s3cret!" in server.heard
    [row] = flow.save()["collect"]
    assert flow.cmail.wait_for_mail("anna@example.org", 1)
    kept = Path(row["password_file"])
    assert kept.read_text() == "s3cret!\n" and kept.stat().st_mode & 0o777 == 0o600
    assert "s3cret" not in flow.cmail.log() + flow.cmail.config.read_text()

    server.messages.append(("uid2", MAIL.replace(b"<1@", b"<2@")))
    flow.go("/collect")
    assert "Mail of anna4711 at 127.0.0.1" in flow.page.inner_text("main")
    follow(flow, "Change")
    fill(flow, "collect", password="another")
    flow.save()
    flow.cmail.wait_for_mail("anna@example.org", 2)
    assert "PASS another" in server.heard and not kept.exists()
    flow.go("/collect")
    flow.press("Delete")
    assert "collect" not in flow.save()
    assert not list(kept.parent.glob("collect-password-*"))
    assert flow.cmail.ask("link", "collect.status")["accounts"] == []


def test_links_kicks_and_a_site(flow: Flow) -> None:
    """A link with a policy; two kicks, of which the second goes first then; a site whose mail is taken and waits."""
    flow.go("/links")
    follow(flow, "Add a link")
    fill(flow, "link.via", name="satellite", device="sat0", use="urgent", rate="256")
    flow.go("/kicks")
    with socket.create_server(("127.0.0.1", 0)) as provider:
        for host, method in (("127.0.0.2", "connect"), ("127.0.0.1", "finger")):
            flow.go("/kicks")
            follow(flow, "Add a step")
            fill(flow, "link.kick", method=method, host=host, port=str(provider.getsockname()[1]), wait="1s")
        flow.press("Up")
        text = flow.page.inner_text("main")
        assert text.index("Says our first domain to 127.0.0.1") < text.index(
            "Opens a connection to 127.0.0.2"
        )
        flow.go("/sites")
        follow(flow, "Add a site")
        fill(flow, "site", name="ship", domains="ship.example", user="ship@example.org", largest="2MiB")
        flow.go("/save")
        assert "satellite" in flow.page.inner_text("main")
        saved = flow.save()
        assert saved["link"]["via"] == [
            {"name": "satellite", "device": ["sat0"], "use": "urgent", "rate": 256}
        ]
        assert [row["method"] for row in saved["link"]["kick"]] == ["finger", "connect"]
        assert saved["site"][0]["domains"] == ["ship.example"]

        [link] = flow.cmail.ask("link", "link.status")["links"]
        assert (link["name"], link["policy"]) == ("satellite", "urgent mail")
    with flow.client() as client:
        client.sendmail("bob@example.net", ["whoever@ship.example"], MAIL)
    assert wait_for(flow.cmail.queue, "mail that waits for the site")[0]["attempts"] == 0
    with smtplib.SMTP("127.0.0.1", flow.cmail.port("smtp"), timeout=60) as client:
        client.ehlo()
        client.mail("bob@example.net")
        assert client.rcpt("whoever@other.example")[0] == 550
