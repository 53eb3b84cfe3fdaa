"""Links and kicks: how each column of their rows shows outside."""

import base64
import time
from typing import Any, Final

from tests.support.controls import House
from tests.support.house import wait_for
from tests.support.rows import Hears, add, column
from tests.support.sink_mx import SinkMx

# column of a link -> what is typed, and what the running server says of it
VIA: Final[dict[str, tuple[str, str, Any]]] = {
    "name": ("satellite", "name", "satellite"),
    "device": ("ppp0\nwwan*", "devices", ["ppp0", "wwan*"]),
    "use": ("urgent", "policy", "urgent mail"),
    "rate": ("256", "rate", 256),
    "cost": ("0.5", "cost", 0.5),
    "largest": ("2MiB", "largest", 2 * 2**20),
    "budget": ("20MiB", "budget", 20 * 2**20),
    "window_budget": ("5MiB", "window_budget", 5 * 2**20),
    "window": ("Sun 03:17-03:18", "window", ["Sun 03:17-03:18"]),
}


def via(name: str) -> None:
    typed, said_as, value = VIA[name]

    @column(f"link.via.{name}")
    def _(house: House) -> None:
        more = {"window": "Sun 03:17-03:18"} if name == "window_budget" else {}  # of what it is the budget
        add(house, "link.via", {"name": "thin", **more, name: typed})
        [row] = house.cmail.ask("link", "link.status")["links"]
        assert row[said_as] == value, row


for each in VIA:
    via(each)


def kicked(house: House, typed: dict[str, str | bool], password: str = "") -> None:
    """A step is added; somebody asks for a kick, and waits for its end."""
    add(house, "link.kick", {"wait": "1s", "repeat": "0", "host": "127.0.0.1", **typed}, password)
    house.cmail.rows("link", "link.kick")


@column("link.kick.method")
def _(house: House) -> None:
    with Hears() as there:
        kicked(house, {"method": "finger", "port": str(there.port)})
        assert there.heard == [b"example.org\r\n"]


@column("link.kick.host")
def _(house: House) -> None:
    with Hears("127.0.0.2") as there:
        kicked(house, {"method": "finger", "port": str(there.port), "host": "127.0.0.2"})
        assert there.heard == [b"example.org\r\n"]


@column("link.kick.port")
def _(house: House) -> None:
    with Hears() as there, Hears() as elsewhere:
        kicked(house, {"method": "finger", "port": str(there.port)})
        assert there.heard and not elsewhere.heard


@column("link.kick.text")
def _(house: House) -> None:
    with Hears() as there:
        kicked(house, {"method": "string", "port": str(there.port), "text": r"send\tit"})
        assert there.heard == [b"send\tit\r\n"]


@column("link.kick.wait")
def _(house: House) -> None:
    with Hears() as there:
        begun = time.monotonic()
        kicked(house, {"method": "finger", "port": str(there.port), "wait": "3s"})
        assert 3 <= time.monotonic() - begun < 60, "two minutes are the default"


@column("link.kick.repeat")
def _(house: House) -> None:
    with Hears() as there:
        kicked(house, {"method": "finger", "port": str(there.port), "repeat": "2"})
        assert len(there.heard) == 3


@column("link.kick.tls")
def _(house: House) -> None:
    with Hears() as there:
        kicked(house, {"method": "etrn", "port": str(there.port), "tls": "implicit"})
        assert there.heard[0][:1] == b"\x16", "a handshake"


def logged_in(house: House) -> str:
    """A step with a log-in; what the server was told of it."""
    sink = house.peers.start(SinkMx(users={"ours": "s3cret!"}, extensions=("AUTH PLAIN", "ETRN")))
    typed: dict[str, str | bool] = {
        "method": "etrn",
        "port": str(sink.port),
        "tls": "none",
        "username": "ours",
    }
    kicked(house, typed, "s3cret!")
    said = wait_for(lambda: sink.lines("AUTH PLAIN"), "a log-in")[0]
    return base64.b64decode(said.split()[2]).decode()


@column("link.kick.username")
def _(house: House) -> None:
    assert logged_in(house).split("\0")[1] == "ours"


@column("link.kick.password_file")
def _(house: House) -> None:
    """As it was typed, without a restart; in a file that only the server can read."""
    assert logged_in(house).split("\0")[2] == "s3cret!"
    [kept] = (house.cmail.data / "secrets").glob("kick-password-*")
    assert kept.stat().st_mode & 0o777 == 0o600
