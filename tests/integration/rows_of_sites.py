"""Sites: how each column of their rows shows outside."""

import smtplib
import time
from itertools import count
from typing import Any, Final

from tests.support.controls import LOOPBACK, MAIL, House
from tests.support.house import wait_for
from tests.support.rows import Hears, add, column
from tests.support.sink_mx import SinkMx

_NUMBERS: Final = count(1)
SHIP: Final = "whoever@ship.example"
WAITS: Final = 452
NEVER: Final = 550


def site(house: House, typed: dict[str, str | bool], password: str = "") -> dict[str, Any]:
    """A site is added; each has a name of its own, as what is known of it goes by that."""
    first: dict[str, str | bool] = {
        "name": f"ship-{next(_NUMBERS)}",
        "domains": "ship.example",
        "user": "carl@example.org",
    }
    return add(house, "site", {**first, **typed}, password)


def takes(house: House, to: str = SHIP, text: str = MAIL) -> int:
    """A stranger writes there; the code that it is answered with."""
    with house.client() as client:
        try:
            client.sendmail("bob@example.net", [to], text)
        except smtplib.SMTPRecipientsRefused as error:
            return int(error.recipients[to][0])
        return 250


def asks(house: House, user: str = "") -> int:
    """ETRN, with a log-in or without; the code."""
    with house.client("submission" if user else "smtp") as client:
        client.ehlo()
        if user:
            client.login(user, "secret")
            client.ehlo()
        return client.docmd("ETRN", "ship.example")[0]


@column("site.name")
def _(house: House) -> None:
    site(house, {"name": "boat"})
    assert [row["name"] for row in house.cmail.rows("worker-0", "site.list")] == ["boat"]


@column("site.domains")
def _(house: House) -> None:
    assert takes(house) == 550
    site(house, {"domains": "ship.example\ncrew.example"})
    assert takes(house) == takes(house, "a@crew.example") == 250


@column("site.user")
def _(house: House) -> None:
    site(house, {"user": "carl@example.org"})
    takes(house)
    assert asks(house, "anna@example.org") >= 400 and asks(house, "carl@example.org") < 300


@column("site.password_file")
def _(house: House) -> None:
    """As it was typed, without a restart; in a file that only the server can read."""
    row = site(house, {"user": "carl@example.org"}, "digested")
    with house.client("odmr") as client:
        client.ehlo()
        client.user, client.password = "carl@example.org", "digested"
        assert client.auth("CRAM-MD5", client.auth_cram_md5, initial_response_ok=False)[0] == 235
        assert client.docmd("ATRN")[0] == 453
    [kept] = (house.cmail.data / "secrets").glob("site-password-*")
    assert str(kept) == row["password_file"] and kept.stat().st_mode & 0o777 == 0o600


@column("site.networks")
def _(house: House) -> None:
    site(house, {})
    takes(house)
    assert asks(house) >= 400
    house.browser.post("/sites/1", "/sites/1", {"site.networks": LOOPBACK})
    house.save()
    assert asks(house) < 300


def sent(house: House, typed: dict[str, str | bool]) -> SinkMx:
    """A site with a host; it has asked, and has its mail."""
    sink = house.sink()
    site(house, {"host": f"127.0.0.1:{sink.port}", **typed})
    takes(house)
    assert not sink.taken and asks(house, "carl@example.org") < 300
    wait_for(lambda: sink.taken, "its mail")
    return sink


@column("site.host")
def _(house: House) -> None:
    sent(house, {})


@column("site.tls")
def _(house: House) -> None:
    with Hears() as there:
        site(house, {"host": f"127.0.0.1:{there.port}", "tls": "implicit"})
        takes(house)
        asks(house, "carl@example.org")
        wait_for(lambda: there.heard, "a connection")
        assert there.heard[0][:1] == b"\x16", "a handshake"


@column("site.stays")
def _(house: House) -> None:
    sink = sent(house, {"stays": "5s"})
    wait_for(lambda: not _is_there(house), "it counts as away again")
    takes(house)
    assert len(sink.taken) == 1 and len(house.cmail.queue()) == 1


def _is_there(house: House) -> bool:
    return any(row["is_there"] for row in house.cmail.rows("worker-0", "site.list"))


@column("site.largest")
def _(house: House) -> None:
    site(house, {"largest": "1KiB"})
    takes(house, text=MAIL + "Hello once more.\r\n" * 200)
    wait_for(lambda: [row for row in house.cmail.queue() if row["state"] == "held"], "it is held")


def is_full(house: House) -> None:
    """No more is taken for it; counts are some seconds old."""
    with house.client() as client:
        client.ehlo()
        for _ in range(40):
            client.mail("bob@example.net")
            if client.rcpt(SHIP)[0] == WAITS:
                return
            client.rset()
            time.sleep(0.5)
    raise AssertionError("there is still room")


@column("site.messages")
def _(house: House) -> None:
    site(house, {"messages": "1"})
    assert takes(house) == 250
    is_full(house)


@column("site.size")
def _(house: House) -> None:
    site(house, {"size": "1KiB"})
    large = MAIL + "Hello once more.\r\n" * 200
    assert takes(house) == 250 and takes(house, text=large) == NEVER
