"""Next hops that close the connection after each message that they took, or after a few, with others behind it."""

import asyncio
import smtplib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from cmail.delivery.agent import Finished
from cmail.delivery.fit import Fit
from cmail.delivery.smtp import SmtpAgent
from tests.integration.test_delivery_smtp import CHUNKED, agent, settings
from tests.support.house import SETTINGS, RunningCmail, wait_for
from tests.support.memory_work import MemoryWork, transaction
from tests.support.peers import Peers
from tests.support.ports import free_port
from tests.support.sink_mx import CLOSE, LEAVES, RESET, Reaction, SinkMx

COUNT = 10
ENOUGH = b"421 4.7.0 enough for this connection\r\n"
ONE_EACH = {"content": LEAVES}


async def deliver_all(sink: SinkMx, sender: SmtpAgent) -> list[Finished]:
    """Ten messages, by as many connections as it takes; how each of these ended."""
    work = MemoryWork([transaction(n, (f"{n}@example.net",)) for n in range(COUNT)], keeps_put_back=True)
    endings: list[Finished] = []
    while work.ready:
        assert len(endings) < 2 * COUNT
        ending = await asyncio.wait_for(sender.run("relay", work), 60)
        assert isinstance(ending, Finished) and ending.transactions_count
        endings.append(ending)
    work.check()
    to = [taken.recipients[0] for taken in sink.taken]
    assert to == [f"RCPT TO:<{n}@example.net>" for n in range(COUNT)], "each once, in its order"
    assert len(work.settled) == COUNT and work.has_delivered
    return endings


@pytest.mark.parametrize("rate", [0, 64], ids=["fast", "thin"])
@pytest.mark.parametrize(
    ("script", "takes"),
    [
        pytest.param(ONE_EACH, 1, id="leaves after one"),
        pytest.param({"content#2": LEAVES}, 3, id="leaves after three"),
        pytest.param({"RSET#1": CLOSE, "MAIL#2": CLOSE}, 2, id="leaves at the third"),
        pytest.param({"RSET#1": RESET, "MAIL#2": RESET}, 2, id="resets at the third"),
        pytest.param({"RSET#0": ENOUGH, "MAIL#1": ENOUGH}, 1, id="421 after one"),
    ],
)
@pytest.mark.parametrize("extensions", [CHUNKED, ("PIPELINING",)], ids=["chunked", "pipelined"])
def test_what_stood_behind_goes_at_once_and_then_no_more_is_sent_than_is_taken(
    monkeypatch: pytest.MonkeyPatch,
    script: Mapping[str, Reaction],
    takes: int,
    extensions: Sequence[str],
    rate: int,
) -> None:
    """All arrive once, in their order, at the first attempt; after the first connection the host gets as many
    on each as it takes, and the connection is ended by us."""
    monkeypatch.setattr(SmtpAgent, "_fit", lambda *_: Fit(rate))

    async def main() -> None:
        async with SinkMx(script, extensions, is_hasty=True) as sink:
            endings = await deliver_all(sink, agent(settings(sink.port, tls="none", idle_ms=0)))
            assert [ending.closed_after for ending in endings[:2]] == [takes, 0]
            assert sink.connections == len(endings) == -(-COUNT // takes)
            contents = [line for line in sink.heard if line.startswith(("BDAT", "DATA"))]
            assert len(contents) <= COUNT + 1, "what was streamed behind the first is all that was in vain"

    asyncio.run(main())


def test_waiting_mail_for_a_host_that_takes_one_each_does_not_wait_for_its_next_attempt(
    tmp_path: Path,
) -> None:
    """Ten messages wait for a server that is away. It comes, takes one on a connection and closes, without a
    word: all arrive within seconds, once; nothing is deferred."""
    port = free_port()
    upstream = f'[smtp]\nhost = "127.0.0.1"\nport = {port}\ntls = "none"\n[smtp.advanced]\nconnections = 1\n'
    one = SETTINGS.replace("workers = 2", "workers = 1")
    with Peers() as peers, RunningCmail(tmp_path, settings=one, more=upstream) as cmail:
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
            for n in range(COUNT):
                message = f"From: anna@example.org\r\nSubject: {n}\r\n\r\nHello.\r\n"
                client.sendmail("anna@example.org", ["bob@example.net"], message)
        wait_for(lambda: len(cmail.queue()) == COUNT and "connection refused" in cmail.log(), "all to wait")
        before = len(cmail.log())
        sink = peers.start(SinkMx(ONE_EACH, CHUNKED, port=port, is_hasty=True))
        cmail.ask("worker-0", "queue.flush", filter={})
        wait_for(lambda: not cmail.queue(), "an empty queue")
        assert len(sink.taken) == COUNT == len({taken.content for taken in sink.taken})
        assert "deferred" not in cmail.log()[before:]
