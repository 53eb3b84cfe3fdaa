"""A hub and a site that comes for its mail, both of them real servers: on one machine, or with a wire between them
that a test cuts."""

import contextlib
import os
import signal
import smtplib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.support.house import PATIENCE_S, RunningCmail, reachable, wait_for
from tests.support.netns import FAR, Net

CREW: Final = "crew@ship.example"
MOMENT_S: Final = 0.03
_HUB: Final = """\
[host]
hostname = "mail.example.org"
domains = ["example.org"]
data_dir = "data"
user = "nobody"
workers = 2
{listeners}
[admin]
address = ""
{tables}
[[site]]
name = "ship"
domains = ["ship.example"]
user = "ship@example.org"
"""
_SITE: Final = """\
[host]
hostname = "mail.ship.example"
domains = ["ship.example"]
data_dir = "data"
user = "nobody"
workers = 2
{listeners}
[admin]
address = ""
{tables}
[smtp]
host = "{hub}"
port = {port}
{log_in}
"""
_LISTENER: Final = '\n[[listener]]\nkind = "{kind}"\naddress = "{address}"\n'
_LOG_IN: Final = 'username = "ship@example.org"\npassword_file = "{password}"'
_STEP: Final = """
[[link.kick]]
method = "{method}"
host = "{hub}"
port = {port}
text = "ship.example"
{log_in}
wait = "{wait}"
"""
PORTS: Final = {"smtp": 25, "submission": 587, "odmr": 366, "finger": 79}
KICKED: Final = {"atrn": "odmr", "etrn": "submission", "finger": "finger"}  # which of the hub's listeners
_STRANGERS: Final = """
[relay]
networks = ["192.0.2.0/24"]
[smtp.advanced]
timeout = "5s"
"""
_SOON: Final = """
[smtp.advanced]
timeout = "2s"
[link]
probe_every = "5s"
"""


def hub_at(
    folder: Path,
    host: str,
    ports: Mapping[str, int],
    *,
    tables: str = "",
    more: str = "",
    prefix: Sequence[str] = (),
) -> RunningCmail:
    """Keeps mail for ship.example and listens at these ports, by kind; `more` is of its [[site]]."""
    place = folder / "hub"
    place.mkdir()
    listeners = "".join(_LISTENER.format(kind=kind, address=f"{host}:{port}") for kind, port in ports.items())
    users = (("anna@example.org", "secret"), ("ship@example.org", "sail"))
    settings = _HUB.format(listeners=listeners, tables=tables)
    return RunningCmail(place, settings=settings, more=more, users=users, prefix=prefix)


def site_at(
    folder: Path,
    hub: str,
    ports: Mapping[str, int],
    method: str,
    *,
    address: str = "0.0.0.0:25",
    tables: str = "",
    wait: str = "60s",
    prefix: Sequence[str] = (),
) -> RunningCmail:
    """Comes to the hub by a kick at each link-up ("none": by none), and sends by it."""
    place = folder / "ship"
    place.mkdir()
    password = reachable(place) / "password"
    password.write_text("sail\n")
    password.chmod(0o600)
    log_in = _LOG_IN.format(password=password)
    settings = _SITE.format(
        listeners=_LISTENER.format(kind="smtp", address=address),
        tables=tables,
        hub=hub,
        port=ports["submission"],
        log_in=log_in,
    )
    if method != "none":
        settings += _STEP.format(
            method=method,
            hub=hub,
            port=ports[KICKED[method]],
            log_in="" if method == "finger" else log_in,
            wait=wait,
        )
    return RunningCmail(
        place, settings=settings, users=((CREW, "c"),), domains=("ship.example",), prefix=prefix
    )


def hub_of(net: Net, folder: Path, more: str = "") -> RunningCmail:
    """On the far host; everybody there is a stranger to it."""
    return hub_at(folder, FAR, PORTS, tables=_STRANGERS, more=more, prefix=net.prefix_there)


def site_of(net: Net, folder: Path, method: str, *, tables: str = _SOON, wait: str = "60s") -> RunningCmail:
    """On this side of the wire."""
    return site_at(folder, FAR, PORTS, method, tables=tables, wait=wait, prefix=net.prefix)


def post(host: str, port: int, sender: str, to: str, subject: str, octets: int = 100) -> None:
    """A message that Validation lets in, at a connection of its own."""
    text = (
        f"From: <{sender}>\r\nDate: Tue, 05 Jan 2027 10:00:00 +0000\r\nSubject: {subject}\r\n"
        f"Message-ID: <{subject}@example.net>\r\n\r\n" + ("x" * 70 + "\r\n") * max(1, octets // 72)
    )
    with smtplib.SMTP(host, port, timeout=60) as client:
        client.sendmail(sender, [to], text)


def send(net: Net, *subjects: str, octets: int = 100) -> None:
    """From a stranger to the hub, for the site; both workers get some."""

    def all_of_them() -> None:
        for subject in subjects:
            post(FAR, 25, "b@example.net", CREW, subject, octets)

    net.outside(all_of_them)


def subjects(count: int, name: str = "m") -> list[str]:
    """So many names of messages."""
    return [f"{name}-{number}" for number in range(count)]


def arrived(site: RunningCmail) -> Counter[str]:
    """How often each message is in the mailbox of the site."""
    heads = [each.partition(b"Subject: ")[2].partition(b"\n")[0] for each in site.mailbox(CREW)]
    return Counter(head.decode() for head in heads)


def waiting(hub: RunningCmail) -> list[dict[str, object]]:
    """What waits for the site."""
    return [row for row in hub.queue() if row["route"] == "site:ship"]


def let_the_first_come(site: RunningCmail, pids: Sequence[int]) -> None:
    """Until some of it is there. The workers of the site are stopped before anything comes, go on for moments, and are
    stopped when this returns: however late somebody looks, there is more to come."""
    until = time.monotonic() + PATIENCE_S
    while not arrived(site):
        assert time.monotonic() < until, "nothing comes"
        for signal_ in (signal.SIGCONT, signal.SIGSTOP):
            for pid in pids:
                os.kill(pid, signal_)
            time.sleep(MOMENT_S)


@contextlib.contextmanager
def standing_still(pids: Sequence[int]) -> Iterator[None]:
    """The workers of a site take nothing meanwhile: what is on its way to them stays there."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def all_has_come(
    site: RunningCmail, hub: RunningCmail, sent: list[str], timeout_s: float = PATIENCE_S
) -> None:
    """Everything that was sent is in the mailbox, and nothing waits at the hub."""
    wait_for(lambda: set(arrived(site)) >= set(sent), f"all of it, not {len(arrived(site))}", timeout_s)
    wait_for(lambda: not waiting(hub), "an empty queue at the hub")


def nobody_was_told(hub: RunningCmail) -> None:
    """No bounce, no notice of a delay: nothing for those who sent is at the hub or has gone out of it."""
    assert not [row for row in hub.queue() if row["route"] != "site:ship"], hub.queue()
    assert all(b"from-the-ship" in each for each in hub.mailbox("anna@example.org"))
    assert not hub.mailbox("postmaster@example.org")
    log = hub.log()
    assert "status=bounced" not in log and "sender non-delivery notification" not in log
