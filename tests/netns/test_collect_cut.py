"""Collecting over a link that is cut in the middle of a message, before it is deleted there, while it listens:
all of it arrives, each message once, and nothing stays at the server."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.atrn_hub import hub_context
from tests.support.cut_house import SOON_S, FarSink, command, give, status, wait_until_down, wait_until_up
from tests.support.dovecot_server import DovecotServer
from tests.support.gate import Gate
from tests.support.house import PATIENCE_S, RunningCmail, reachable, wait_for
from tests.support.mailboxes_elsewhere import PASSWORD, account, left, message, put
from tests.support.netns import FAR, Net, There
from tests.support.trigger import Trigger

pytestmark = [pytest.mark.needs("root", "ip", "dovecot"), pytest.mark.limit(400)]

ANNA: Final = "anna@example.org"
IDLE: Final = "idle@isp.example"
LARGE: Final = 400_000  # more than a piece of FETCH, or than what lies in buffers


@dataclass(frozen=True)
class Cut:
    """A box, and where its session stands when the line is cut."""

    name: str
    protocol: str
    octets: int = -1
    word: bytes = b""
    after: bytes = b""

    @property
    def user(self) -> str:
        """Whose box it is."""
        return f"{self.name}@isp.example"


IN_CONTENT: Final = (Cut("pop-content", "pop3", octets=150_000), Cut("imap-content", "imap", octets=150_000))
BEFORE_DELETING: Final = (
    Cut("pop-dele", "pop3", word=b"DELE"),
    Cut("imap-store", "imap", word=b"UID STORE"),
    Cut("pop-quit", "pop3", word=b"QUIT"),
    Cut("imap-expunge", "imap", word=b"UID EXPUNGE"),
)
NOT_HEARD: Final = (
    Cut("pop-gone", "pop3", after=b"QUIT"),
    Cut("imap-gone", "imap", after=b"UID EXPUNGE"),
    Cut("pop-deleted", "pop3", after=b"DELE"),
    Cut("imap-stored", "imap", after=b"UID STORE"),
)
SOME_OF_EACH: Final = (*IN_CONTENT, BEFORE_DELETING[1], NOT_HEARD[0])
PARTS: Final = ("content", "deleting", "replies")
CUTS: Final = {"content": IN_CONTENT, "deleting": BEFORE_DELETING, "replies": NOT_HEARD}


class Boxes:
    """A Dovecot on the far host, with a box and a gate for each cut, and one that is listened to."""

    def __init__(self, net: Net, cuts: Sequence[Cut]) -> None:
        self._net, self._cuts = net, cuts
        users = [cut.user for cut in cuts] + [IDLE]
        self.dovecot = DovecotServer(dict.fromkeys(users, PASSWORD))
        context, self._authority = hub_context(FAR)
        self.gates = [Gate(0, octets=c.octets, word=c.word, after=c.after, tls=context) for c in cuts]
        self.listening = Gate(0, tls=context)
        self._sent = 0

    def __enter__(self) -> "Boxes":
        self._net.outside(self.dovecot.__enter__)
        for cut, gate in zip(self._cuts, self.gates, strict=True):
            gate.behind = self.dovecot.pop3_port if cut.protocol == "pop3" else self.dovecot.imap_port
            self.put(cut.user, LARGE, 100)
        self.listening.behind = self.dovecot.imap_port
        return self

    def __exit__(self, *_: object) -> None:
        self.dovecot.__exit__()

    def put(self, user: str, *sizes: int) -> None:
        """Messages into a box; each has a number of its own."""
        made = [message(self._sent + n, size) for n, size in enumerate(sizes)]
        self._sent += len(made)
        self._net.outside(lambda: put(self.dovecot, made, user))

    @property
    def numbers(self) -> Counter[bytes]:
        """Of all that was put there, once each."""
        return Counter(f"number {n}".encode() for n in range(self._sent))

    def settings(self, place: Path) -> str:
        """[[collect]] for all of them; by time alone none is collected."""
        place = reachable(place)
        trusted = place / "ca.pem"
        self._authority.cert_pem.write_to_path(trusted)
        trusted.chmod(0o644)
        found, far = f'\n[tls]\nca_file = "{trusted}"\n', {"host": FAR, "tls": "implicit"}
        more = {**far, "username": IDLE, "idle": True}  # first: the others take all room for sessions
        found += account(place, "idle", "imap", self.listening.port, **more)
        for cut, gate in zip(self._cuts, self.gates, strict=True):
            found += account(place, cut.name, cut.protocol, gate.port, username=cut.user, **far)
        return found

    def left(self) -> dict[str, int]:
        """How many messages are in each box that is not empty."""
        users = [cut.user for cut in self._cuts] + [IDLE]
        found = self._net.outside(lambda: {user: len(left(self.dovecot, user)) for user in users})
        return {user: count for user, count in found.items() if count}

    def wait_until_held(self) -> None:
        """Until each session stands where it is to be cut."""
        for cut, gate in zip(self._cuts, self.gates, strict=True):
            assert gate.held.wait(PATIENCE_S), f"{cut.name} does not come so far"

    def lose(self) -> None:
        """What was on the line."""
        for gate in (*self.gates, self.listening):
            gate.lose()


def arrived(cmail: RunningCmail) -> Counter[bytes]:
    """How often each message is in the mailbox."""
    subjects = [each.partition(b"Subject: ")[2].partition(b"\n")[0] for each in cmail.mailbox(ANNA)]
    return Counter(subjects)


def states(cmail: RunningCmail) -> dict[str, str]:
    """Of each account."""
    told = cmail.ask("link", "collect.status")["accounts"]
    return {row["name"]: row["state"] for row in told}


@contextlib.contextmanager
def collecting(
    net: Net, folder: Path, boxes: Boxes, more: str = "", *others: Any
) -> Iterator[tuple[RunningCmail, There]]:
    """A server that collects, of which each session has come to its cut, and one listens."""
    upstream = f'\n[smtp]\nhost = "{FAR}"\nport = 2525\n[smtp.advanced]\ntimeout = "2s"\n'
    upstream += '[link]\nprobe_every = "5s"\n'
    with There(net, FarSink(), *boxes.gates, boxes.listening, *others) as there:
        settings = upstream + more + boxes.settings(folder)
        with RunningCmail(folder, more=settings, prefix=net.prefix) as cmail:
            boxes.wait_until_held()
            wait_for(lambda: states(cmail)["idle"] == "listening", "it to listen")
            yield cmail, there


def all_is_here(cmail: RunningCmail, boxes: Boxes) -> None:
    """Each message once; nothing is left there, here, or on hold."""
    wait_for(lambda: set(arrived(cmail)) == set(boxes.numbers), "all of it")
    wait_for(lambda: not boxes.left(), f"empty boxes: {boxes.left()}")
    assert arrived(cmail) == boxes.numbers
    wait_for(lambda: not cmail.queue(), "the queue to be empty")
    wait_for(lambda: not list((cmail.data / "collect/incoming").iterdir()), "no file to be left")


@pytest.mark.parametrize("part", PARTS)
def test_a_cable_that_is_pulled(net: Net, tmp_path: Path, part: str) -> None:
    """In the middle of a large message, before it is deleted there, before the reply to that has come, and while
    it listens: the sessions end at once; when the cable is back all goes on by itself, each message arrives
    once, none is left there, and it listens again."""
    with Boxes(net, CUTS[part]) as boxes, collecting(net, tmp_path, boxes) as (cmail, there):
        net.cut("wire")
        wait_until_down(cmail)
        wait_for(lambda: set(states(cmail).values()) == {"off line"}, "the sessions to end")
        there.call(boxes.lose)
        boxes.put(IDLE, 100)
        before = sum(gate.connections for gate in boxes.gates)
        net.join("wire")
        all_is_here(cmail, boxes)
        assert sum(gate.connections for gate in boxes.gates) == before + len(boxes.gates)
        wait_for(lambda: states(cmail)["idle"] == "listening", "it to listen again")
        boxes.put(IDLE, 100)
        all_is_here(cmail, boxes)


def test_a_line_that_falls_silent(net: Net, tmp_path: Path) -> None:
    """The servers are gone when it speaks again, and none could say so. Mail that goes out finds that nothing
    answers; the sessions end then, and at link-up all goes on by itself, each message once."""
    with Boxes(net, SOME_OF_EACH) as boxes, collecting(net, tmp_path, boxes) as (cmail, there):
        net.silence("wire")
        there.call(boxes.lose)
        boxes.put(IDLE, 100)
        give(net, cmail)
        assert wait_until_down(cmail).startswith("nothing answers: ")
        wait_for(lambda: set(states(cmail).values()) == {"off line"}, "the sessions to end")
        assert set(arrived(cmail)) != set(boxes.numbers)
        net.speak("wire")
        wait_until_up(cmail)
        wait_for(lambda: set(states(cmail).values()) != {"off line"}, "sessions")
        wait_for(lambda: not cmail.queue(), "the message to go")
        all_is_here(cmail, boxes)
        wait_for(lambda: states(cmail)["idle"] == "listening", "it to listen again")
        boxes.put(IDLE, 100)
        all_is_here(cmail, boxes)


def test_who_only_fetches_over_a_line_that_falls_silent(net: Net, tmp_path: Path) -> None:
    """No mail goes out that could find it: the mailbox server that does not answer has itself probed, the link is
    down; when it answers again all is fetched at once. By hand likewise: `cmail link down` ends the session that
    listens into the silence, and within a second of `cmail link up` another one begins."""
    quick = '\n[smtp.advanced]\ntimeout = "2s"\n[link]\nprobe_every = "5s"\n'
    with Boxes(net, ()) as boxes, There(net, boxes.listening) as there:
        with RunningCmail(tmp_path, more=quick + boxes.settings(tmp_path), prefix=net.prefix) as cmail:
            wait_for(lambda: states(cmail)["idle"] == "listening", "it to listen")
            fall_silent(net, there, boxes)
            cmail.ask("link", "link.collect", kick=False)
            assert wait_until_down(cmail).startswith("nothing answers: ")
            net.speak("wire")
            wait_until_up(cmail)
            all_is_here(cmail, boxes)
            wait_for(lambda: states(cmail)["idle"] == "listening", "it to listen again")
            fall_silent(net, there, boxes)
            cmail.ask("link", "link.down")
            wait_for(lambda: states(cmail) == {"idle": "off line"}, "the session to end")
            net.speak("wire")
            began = time.monotonic()
            cmail.ask("link", "link.up")
            wait_for(lambda: arrived(cmail) == boxes.numbers, "another session, and what it fetches")
            assert time.monotonic() - began < SOON_S, "a second, on a machine that has nothing else to do"
            all_is_here(cmail, boxes)


def fall_silent(net: Net, there: There, boxes: Boxes) -> None:
    """Nothing goes through, its servers give up, and mail comes for who listens."""
    net.silence("wire")
    there.call(boxes.lose)
    boxes.put(IDLE, 100)


def test_all_that_waits_elsewhere_after_a_cut(net: Net, tmp_path: Path) -> None:
    """`cmail link collect`, when the cable was out and is back: the kick and the collections are begun together, and
    each says how it ended; while it is out the command says so and does neither."""
    trigger = Trigger()
    plan = f'\n[[link.kick]]\nmethod = "finger"\nhost = "{FAR}"\nport = 79\nwait = "1s"\nrepeat = 0\n'
    with Boxes(net, IN_CONTENT) as boxes, collecting(net, tmp_path, boxes, plan, trigger) as (cmail, there):
        net.cut("wire")
        wait_until_down(cmail)
        there.call(boxes.lose)
        trigger.heard.clear()  # of the start
        assert "we are off line" in command(cmail, "link", "collect", code=75) and not trigger.heard
        net.join("wire")
        all_is_here(cmail, boxes)
        wait_for(lambda: trigger.heard == [b"example.org\r\n"], "the kick at link-up")
        wait_for(lambda: not status(cmail)["is_kicking"], "its end")
        boxes.put(IN_CONTENT[0].user, 100)
        said = command(cmail, "link", "collect")
        assert trigger.heard == [b"example.org\r\n"] * 2
        assert "pop-content: 1 fetched" in said and "imap-content: nothing new" in said
        assert "kick: 1/1 finger" in said and "no mail came within 1 s" in said
        all_is_here(cmail, boxes)
