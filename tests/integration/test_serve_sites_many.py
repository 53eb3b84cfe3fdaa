"""A hub for many sites that come at once."""

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

from tests.integration.test_serve_sites import SITE, customer, hub, send, spread, subjects_of
from tests.support.house import wait_for
from tests.support.hub_and_site import post

NAMES = [f"s{number}" for number in range(12)]


def test_one_who_comes_for_many_sites(tmp_path: Path) -> None:
    """A server of several sites takes the mail of all of them on one connection, and each was here: it is noted for all,
    whichever worker it came to, and nothing is said of trouble with that."""
    sites = "".join(
        f'\n[[site]]\nname = "{name}"\ndomains = ["{name}.example"]\nuser = "ship@example.org"\n'
        for name in NAMES
    )
    with hub(tmp_path, sites) as cmail:
        for _ in range(3):
            for name in NAMES:
                send(cmail, name, to=f"x@{name}.example")
            with customer(cmail) as ship:
                assert ship.says("ATRN").startswith("250")
                ship.serve()
            assert subjects_of(ship.taken) == sorted(NAMES)
            wait_for(lambda: not cmail.queue(), "an empty queue")
        noted = cmail.data / "sites.json"
        wait_for(
            lambda: noted.exists() and sorted(json.loads(noted.read_text())) == sorted(NAMES), "all of them"
        )
        assert "warning" not in cmail.log(), cmail.log()


def test_a_worker_that_is_started_anew_while_the_site_is_there(tmp_path: Path) -> None:
    """What it has comes over the connection that waits: who knows when the site comes the next time."""
    with hub(tmp_path, SITE) as cmail:
        sent = spread(cmail, 6)
        with customer(cmail) as ship:
            log = wait_for(
                lambda: cmail.log() if "odmr/smtpd[" in cmail.log() else "", "whose connection it is"
            )
            here = int(log.partition("odmr/smtpd[")[2].partition("]")[0])
            own, other = sorted(("worker-0", "worker-1"), key=lambda name: cmail.pid(name) != here)
            own_count = cmail.ask(own, "queue.figures")["messages"]

            def reply(count: int) -> str:
                if count == own_count - 1:  # the other's turn comes next
                    os.kill(cmail.pid(other), signal.SIGKILL)
                return "250 2.0.0 taken"

            assert ship.says("ATRN").startswith("250")
            ship.serve(reply=reply)
        assert subjects_of(ship.taken) == sorted(sent)


def test_a_site_that_comes_again_while_its_connection_of_before_ends(tmp_path: Path) -> None:
    """It hung up in the middle and dials anew at once: the shard that was being sent is sent on the new connection, and
    does not wait for the visit after that."""
    with hub(tmp_path, SITE) as cmail:
        sent = spread(cmail, 6)
        before = customer(cmail)
        assert before.says("ATRN").startswith("250")
        for reply in ("220 ship.example ready", "250 ship.example", "250 ok"):
            before.sends(reply)
            before._line()  # EHLO, RSET, MAIL
        with customer(cmail) as ship:
            assert ship.says("ATRN").startswith("250")
            threading.Timer(2.5, before._socket.close).start()
            ship.serve()
        assert subjects_of(ship.taken) == sorted(sent)


def _not_acknowledged(port: int) -> int:
    """Octets that the kernel of the hub holds for the site's socket at this port."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[2].partition(":")[2], 16) == port:
            return int(words[4].partition(":")[0], 16)
    raise AssertionError("there is no such connection")


def test_what_is_on_its_way_to_a_thin_site_is_where_it_can_be_seen(tmp_path: Path) -> None:
    """A site that reads next to nothing has next to nothing of a large message in the kernel, where nobody who awaits the
    reply sees whether it moves: else that would be demanded before the message is there, at each visit."""
    with hub(tmp_path, SITE) as cmail:
        post("127.0.0.1", cmail.port("smtp"), "b@example.net", "x@ship.example", "large", 4_000_000)
        with customer(cmail) as ship:
            sock = ship._socket
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            assert ship.says("ATRN").startswith("250")
            ship.sends("220 ship.example ready")
            for reply in ("250 ship.example", "250 ok", "250 ok", "250 ok", "354 go on"):
                ship._line()
                ship.sends(reply)
            wait_for(lambda: _not_acknowledged(sock.getsockname()[1]) > 4096, "the content to come")
            time.sleep(0.5)
            assert _not_acknowledged(sock.getsockname()[1]) < 500_000
