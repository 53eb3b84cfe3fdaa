"""Those whom we kick, and those who kick us, as enemies: answers that drip, hubs that turn round and attack, a finger
listener under floods, half-open connections and lines without an end."""

import asyncio
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from cmail.delivery.site_settings import SiteSettings
from cmail.link.kicks.finger import finger
from cmail.link.kicks.string import string
from cmail.smtpd import finger as finger_door
from cmail.smtpd.intake import Intake
from cmail.smtpd.listener import Listener
from tests.integration.test_kick_atrn import kick, plan, running
from tests.integration.test_kick_methods import kicked
from tests.support.atrn_hub import AtrnHub
from tests.support.fake_sites import FakeSites
from tests.support.house import RunningCmail, wait_for
from tests.support.intake import make_context
from tests.support.mailboxes_elsewhere import message
from tests.support.until import until

ANNA: Final = "anna@example.org"
HEARD_S: Final = 20.0


@pytest.mark.parametrize("method", [finger, string])
def test_an_answer_that_drips(method: Any) -> None:
    """An octet now and then, for ever: the whole kick has its time, and it is said so."""

    async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.02)
        writer.close()

    result = kicked(drips, method, timeout_s=0.4)
    assert not result.is_sent and "did not answer" in result.words


# A hub that has turned the connection round.


@dataclass
class Attacker(AtrnHub):
    """At each turn it makes another of its attacks (octets, so often, until it hears this code); `answers` are what it
    heard. Then it brings its mail."""

    attacks: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    answers: dict[int, bytes] = field(default_factory=dict)

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.turned > len(self.attacks):
            return await super()._send(reader, writer)
        number = self.turned - 1
        octets, times, code = self.attacks[number]
        await reader.readuntil(b"\r\n")  # the greeting
        found = bytearray()

        async def hear() -> None:
            while data := await reader.read(65536):
                found.extend(data)
                if b"\n" + code in found or found.startswith(code):
                    has_heard.set()
            has_heard.set()

        has_heard = asyncio.Event()
        hearing = asyncio.create_task(hear())
        try:
            for _ in range(times):
                writer.write(octets)
                await writer.drain()
            await asyncio.wait_for(has_heard.wait(), HEARD_S)
            await asyncio.wait_for(hearing, 0.5)  # and what it should not hear
        except (ConnectionError, TimeoutError):
            pass
        finally:
            hearing.cancel()
            self.answers[number] = bytes(found)
            writer.close()


_MAIL: Final = b"EHLO hub\r\nMAIL FROM:<bert@example.net>"
# What it does, what is answered, and how it ends.
ATTACKS: Final[dict[str, tuple[bytes, int, bytes]]] = {
    "mistakes": (b"NOSUCH\r\n" * 100, 1, b"421"),
    "commands that bring nothing": (b"NOOP\r\n" * 300, 1, b"421"),
    "strangers' recipients": (_MAIL + b"\r\n" + b"RCPT TO:<victim@example.com>\r\n" * 100, 1, b"421"),
    "unknown users": (_MAIL + b"\r\n" + b"RCPT TO:<nobody@example.org>\r\n" * 100, 1, b"421"),
    "a line without an end": (b"x" * 65536, 1000, b"500"),
    "too large by its own word": (_MAIL + b" SIZE=99999999\r\n", 1, b"552"),
    "log-ins": (b"EHLO hub\r\n" + b"AUTH PLAIN AGFubmFAZXhhbXBsZS5vcmcAc2VjcmV0\r\n" * 100, 1, b"421"),
    "ATRN and ETRN": (b"EHLO hub\r\n" + b"ATRN example.org\r\nETRN example.org\r\n" * 50, 1, b"421"),
}


@pytest.mark.limit(300)
def test_a_hub_that_turns_round_and_attacks(tmp_path: Path) -> None:
    """It is a stranger under the limits of strangers: mistakes end its session, nothing is relayed, nobody logs in, its
    octets cost no memory; and when it behaves its mail comes."""
    attacks = list(ATTACKS.values())
    with running(Attacker([message(1, to=ANNA)], recipient=ANNA, attacks=attacks)) as hub:
        assert isinstance(hub, Attacker)
        more = f"repeat = {len(attacks) + 2}"
        text = '[smtp.advanced]\nmax_message_size = "1MiB"\n' + plan(tmp_path, hub, more, wait="1s")
        with RunningCmail(tmp_path, more=text) as cmail:
            rss_kb = _rss_kb(cmail)
            assert kick(cmail)[0] == 0  # the last try brought the mail
            wait_for(lambda: len(hub.answers) == len(attacks), "the end of each attack")
            for number, (name, (_, _, code)) in enumerate(ATTACKS.items()):
                answers = hub.answers[number]
                codes = [line[:3] for line in answers.splitlines()]
                assert code in codes, f"{name}: {answers[-300:]!r}"
                assert b"235" not in codes and b"354" not in codes, name
            assert _rss_kb(cmail) - rss_kb < 60 * 1024
            cmail.wait_for_mail(ANNA)
            assert "Traceback" not in cmail.log() and not cmail.queue()


def _rss_kb(cmail: RunningCmail) -> int:
    return int(Path(f"/proc/{cmail.pid('worker-0')}/statm").read_text().split()[1]) * 4


# The finger listener.


def _ask(port: int, line: bytes, source: str = "127.0.0.1") -> bytes:
    with socket.create_connection(("127.0.0.1", port), 60, (source, 0)) as sock:
        sock.sendall(line)
        answer = b""
        while data := sock.recv(1000):
            answer += data
        return answer


def test_a_finger_listener_under_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-open connections, drips and endless lines end in their time; floods from one address get no further than its
    own limit; a site elsewhere is answered all the while, and nothing is left in the end."""
    monkeypatch.setattr(finger_door, "PATIENCE_S", 2.0)

    async def run() -> None:
        sites = FakeSites()
        sites.book.update([_near()])
        context = make_context(sites=sites)
        intake = Intake(context)
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.bind(("127.0.0.1", 0))
        sock.listen(500)
        port = sock.getsockname()[1]
        listener = Listener(intake, "finger", sock)
        listener.start()
        loop = asyncio.get_running_loop()
        held = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.9", 0)) for _ in range(150)
        ]
        for number, (_, writer) in enumerate(held):
            writer.write(b"x" * 5000 if number % 3 == 0 else b"ship.exam" if number % 3 == 1 else b"")
        answer = await loop.run_in_executor(None, _ask, port, b"ship.example\r\n", "127.0.0.2")
        assert answer.startswith(b"3 messages"), answer
        asked = [
            await loop.run_in_executor(None, _ask, port, b"ship.example\r\n", "127.0.0.3") for _ in range(40)
        ]
        assert asked.count(finger_door.TOO_OFTEN) + asked.count(b"") >= 34
        unknown = await loop.run_in_executor(None, _ask, port, b"\x00\xff../../etc/passwd\r\n", "127.0.0.4")
        assert unknown == finger_door.UNKNOWN
        for reader, writer in held:
            assert await asyncio.wait_for(reader.read(), 60) == b""
            writer.close()
        await until(lambda: not intake.guests.count)
        assert not intake.guests.count and len(sites.came_there) <= 7
        listener.stop()
        await intake.stop(0.1)

    asyncio.run(asyncio.wait_for(run(), 200))


def _near() -> Any:
    return SiteSettings("ship", ("ship.example",), networks=("127.0.0.0/8",))
