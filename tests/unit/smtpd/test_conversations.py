"""Every conversation of tests/conversations/smtp holds, without a socket, however it is cut into packets."""

import asyncio
import random
from typing import Any

import pytest

from cmail.smtpd.connection import Connection
from cmail.smtpd.intake import Intake
from tests.support.conversation import Conversation, check, context_changes, conversations, split_replies
from tests.support.intake import make_context
from tests.support.transport import FakeTransport


async def _play(conversation: Conversation, packets: list[bytes]) -> tuple[bytes, bool, list[Any]]:
    said = conversation.settings
    context = make_context(**context_changes(conversation))
    intake = Intake(context)
    kind: Any = said.get("listener", "smtp")
    client = context.client(said.get("client", "127.0.0.1"))
    intake.admit(client, "smtpd")
    connection = Connection(intake, context.facts(kind), client, is_tls="tls" in said)
    transport = FakeTransport()
    connection.connection_made(transport)
    for packet in packets:
        for _ in range(20):
            if transport.is_paused:
                await asyncio.sleep(0.001)
        if transport.is_closed:
            break
        connection.data_received(packet)
    for _ in range(10):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    await intake.stop(0.1)
    spool: Any = context.spool
    kept = [(m.new.envelope, m.new.content.octets) for m in spool._messages.values()]
    return transport.written, transport.is_closed, kept


def _cuts(octets: bytes) -> dict[str, list[bytes]]:
    """Ways to cut it; the last by chance, always the same."""
    chance = random.Random(7)
    places = sorted(chance.sample(range(len(octets)), min(len(octets) // 9, 300)))
    return {
        "whole": [octets],
        "octets": [octets[n : n + 1] for n in range(len(octets))],
        "threes": [octets[n : n + 3] for n in range(0, len(octets), 3)],
        "chance": [octets[a:b] for a, b in zip([0, *places], [*places, None], strict=True)],
    }


@pytest.mark.parametrize("conversation", conversations(), ids=lambda c: c.name)
def test_a_conversation_goes_as_written(conversation: Conversation) -> None:
    """Turn by turn the replies are those of the file, and any packets give the same replies and mail."""
    turns = [octets for octets, _ in conversation.turns]
    written, is_closed, kept = asyncio.run(_play(conversation, turns))
    check(conversation.expected, split_replies(written), is_closed)
    for name, packets in _cuts(conversation.sent).items():
        again = asyncio.run(_play(conversation, packets))
        assert again == (written, is_closed, kept), name
