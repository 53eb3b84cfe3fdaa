"""Whom collected mail is for: a box of a whole domain, sorted by what its server wrote on each message."""

import asyncio
from pathlib import Path

import pytest

from cmail.link.collect.sorting import is_report, recipients_of, reverse_path_of
from tests.support.collecting import Office, pop3
from tests.support.mailboxes_elsewhere import message
from tests.support.scripted_pop3 import ScriptedPop3

ANNA, BERT = "anna@example.org", "bert@example.org"

# A header, and whom it names.
HEADERS = {
    "Delivered-To": (b"Delivered-To: anna@example.org\r\n", (ANNA,)),
    "several Delivered-To": (
        b"Delivered-To: anna@example.org\r\nX: y\r\nDelivered-To: box@isp.example\r\nDelivered-To: <bert@EXAMPLE.org>\r\n",
        (ANNA, BERT),
    ),
    "the same twice": (b"Delivered-To: anna@example.org\r\n" * 3, (ANNA,)),
    "of the box alone, then X-Original-To": (
        b"Delivered-To: box@isp.example\r\nX-Original-To: bert@example.org\r\n",
        (BERT,),
    ),
    "Envelope-To with two": (b"Envelope-to: anna@example.org,\r\n\tbert@example.org\r\n", (ANNA, BERT)),
    "X-Envelope-To": (b"X-Envelope-To: <anna@example.org>\r\n", (ANNA,)),
    "Received": (
        b"Received: from x by isp.example\r\n\tfor <box@isp.example>; Tue, 5 Jan 2027 10:00:00 +0000\r\n"
        b"Received: from a (for example) by b with ESMTP\r\n\tid 7 for <anna@example.org>; Tue, 5 Jan 2027\r\n",
        (ANNA,),
    ),
    "the first of Received": (
        b"Received: by a for <anna@example.org>; x\r\nReceived: by b for <bert@example.org>; x\r\n",
        (ANNA,),
    ),
    "Received for several": (
        b"Received: by a for <anna@example.org>, <bert@example.org>; x\r\n",
        (ANNA, BERT),
    ),
    "Received for several, without spaces": (
        b"Received: by a for <anna@example.org>,<box@isp.example>,<bert@example.org> ; x\r\n",
        (ANNA, BERT),
    ),
    "Received for several, as in old servers": (
        b"Received: by a id 7\r\n\tfor <anna@example.org> <bert@example.org> (two of them); x\r\n",
        (ANNA, BERT),
    ),
    "the box has an address of the domain": (
        b"Delivered-To: All@example.org\r\nX-Original-To: bert@example.org\r\n",
        (BERT,),
    ),
    "the box and somebody": (
        b"Delivered-To: all@example.org\r\nDelivered-To: bert@example.org\r\n",
        (BERT,),
    ),
    "the box in Received too": (
        b"Delivered-To: all@example.org\r\nReceived: by a for <all@example.org>; x\r\n"
        b"Received: by b for <anna@example.org>; x\r\n",
        (ANNA,),
    ),
    "for many": (
        b"".join(b"Delivered-To: u%d@example.org\r\n" % n for n in range(300)),
        tuple(f"u{n}@example.org" for n in range(300)),
    ),
    "as qmail has it not": (
        b"Delivered-To: example.org-.x@example.org\r\nDelivered-To: example.org-@example.org\r\n",
        ("example.org-.x@example.org", "example.org-@example.org"),
    ),
    "as qmail has it": (b"Delivered-To: example.org-anna@example.org\r\n", (ANNA,)),
    "the box alone": (b"Delivered-To: all@example.org\r\nTo: anna@example.org\r\n", ("all@example.org",)),
    "Delivered-To before Received": (
        b"Received: by a for <anna@example.org>; x\r\nDelivered-To: bert@example.org\r\n",
        (BERT,),
    ),
    "To and Cc say nothing": (b"To: anna@example.org\r\nCc: bert@example.org\r\n", ()),
    "a name that only begins so": (b"Delivered-To-Not: anna@example.org\r\n", ()),
    "nonsense": (b"Delivered-To: @example.org\r\nX-Original-To: a b@example.org\r\nReceived: for <\r\n", ()),
    "nothing": (b"", ()),
}


@pytest.mark.parametrize("name", HEADERS)
def test_whom_a_header_names(name: str) -> None:
    """Row by row."""
    header, expected = HEADERS[name]
    assert recipients_of(header, "example.org", "all@example.org") == expected


def test_a_domain_in_capitals(tmp_path: Path) -> None:
    """`to` as it is typed: the domain of an address has no case."""

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3([("a", message(1, to=ANNA))]) as server:
            await office.collect(pop3(server.port, to="@Example.ORG."))
            assert [to for to, _ in office.taken] == [(ANNA,)]

    asyncio.run(asyncio.wait_for(test(), 30))


def test_who_sent_it() -> None:
    """Return-Path; an empty one is a report; without one nobody knows."""
    assert reverse_path_of(b"Return-Path: <bert@example.net>\r\n") == "bert@example.net"
    assert reverse_path_of(b"Return-Path: <>\r\n") == "" and is_report(b"Return-Path: <>\r\n")
    assert reverse_path_of(b"From: x@example.net\r\n") == "" and not is_report(b"From: x@example.net\r\n")


def test_a_box_of_a_domain(tmp_path: Path) -> None:
    """Each to who it is for, who is not named is postmaster's; a copy for each recipient comes once to each, and
    two copies for the same one are one."""
    copies = [message(1, to=ANNA), message(1, to=BERT), message(1, to=ANNA).replace(b"id 1", b"id 9")]
    nobody = message(2, to="box@isp.example")
    both = b"Delivered-To: bert@example.org\r\n" + message(3, to=ANNA)

    async def test() -> None:
        office = Office(tmp_path)
        there = [*copies, nobody, both]
        async with ScriptedPop3([(str(n), each) for n, each in enumerate(there)]) as server:
            [result] = await office.collect(pop3(server.port, to="@example.org"))
            assert result.is_ok and result.fetched == 4 and not server.messages
        assert sorted(office.taken) == sorted(
            [
                ((ANNA,), copies[0]),
                ((BERT,), copies[1]),
                (("postmaster@example.org",), nobody),
                ((BERT, ANNA), both),
            ]
        )

    asyncio.run(asyncio.wait_for(test(), 30))


def test_a_message_id_is_not_believed(tmp_path: Path) -> None:
    """Machines there are whose messages all have the same one, and nothing in them but a subject: each comes."""
    one = message(1, to=ANNA)
    two = one.replace(b"Subject: number 1", b"Subject: the door is open")

    async def test() -> None:
        office = Office(tmp_path)
        async with ScriptedPop3([("a", one), ("b", two), ("c", b"X-Copy: 3\r\n" + one)]) as server:
            await office.collect(pop3(server.port, to="@example.org"))
            assert sorted(office.contents) == sorted([one, two]) and not server.messages

    asyncio.run(asyncio.wait_for(test(), 30))
