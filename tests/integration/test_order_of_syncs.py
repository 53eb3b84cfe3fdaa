"""What is synced before what, in the running server, as the kernel saw it: the order is the promise."""

import smtplib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.house import SETTINGS, RunningCmail, reachable, wait_for
from tests.support.mailboxes_elsewhere import message
from tests.support.peers import Peers
from tests.support.scripted_pop3 import ScriptedPop3
from tests.support.tracing import Call, attached, calls_of

ONE = SETTINGS.replace("workers = 2", "workers = 1")
CALLS = "trace=fsync,fdatasync,rename,write,sendto,sendmsg"


def trace_of_a_message(tmp_path: Path, size: int) -> Sequence[Call]:
    """The calls of the worker from the greeting to the end of the delivery into a mailbox here."""
    trace = tmp_path / "trace"
    with RunningCmail(tmp_path, settings=ONE) as cmail:
        with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
            client.sendmail(
                "a@example.net", ["anna@example.org"], b"From: <a@example.net>\r\nSubject: first\r\n\r\nx\r\n"
            )
            wait_for(lambda: cmail.mailbox("anna@example.org") and not cmail.queue(), "the first one")
            words = ("-y", "-s", "200", "-e", CALLS, "-o", str(trace))
            with attached(cmail.pid("worker-0"), *words):
                client.sendmail(
                    "a@example.net",
                    ["anna@example.org"],
                    b"From: <a@example.net>\r\nSubject: x\r\n\r\n" + b"y\r\n" * size,
                )
                wait_for(lambda: len(cmail.mailbox("anna@example.org")) == 2, "the message")
                wait_for(lambda: not cmail.queue(), "an empty queue")
                cmail.wait_for_log("status=sent", 2)
    return calls_of(trace)


def first(calls: Sequence[Call], what: str, is_it: Callable[[Call], bool], after: int = -1) -> Call:
    """The first call of this kind that began after a line of the trace; AssertionError without one."""
    found = [call for call in calls if call.began > after and is_it(call)]
    assert found, f"no {what} after line {after}"
    return min(found, key=lambda call: call.began)


def is_sync_of(part: str) -> Callable[[Call], bool]:
    """A sync, that succeeded, of a file or folder with this in its path."""
    return lambda call: (
        call.name in ("fsync", "fdatasync") and part in call.text and call.text.endswith("= 0")
    )


def is_sent(words: str) -> Callable[[Call], bool]:
    """Octets to a socket or the log."""
    return lambda call: call.name in ("write", "sendto", "sendmsg") and words in call.text


@pytest.mark.needs("strace")
def test_synced_before_250_and_before_delivered(tmp_path: Path) -> None:
    """The log of the spool is synced before the 250 starts; the file of the mailbox before its rename, the
    folder before 'status=sent' is said and before the spool forgets the message."""
    calls = trace_of_a_message(tmp_path, 1000)
    go_ahead = first(calls, "354", is_sent('"354 '))
    synced = first(calls, "sync of the spool", is_sync_of("-wal>"), go_ahead.ended)
    acknowledged = first(calls, "250", is_sent('"250 2'), go_ahead.ended)
    assert synced.ended < acknowledged.began

    file = first(calls, "sync of the file", is_sync_of("/example.org/anna/tmp/"), synced.ended)
    named = first(calls, "rename", lambda c: c.name == "rename" and "/anna/tmp/" in c.text, synced.ended)
    folder = first(calls, "sync of the folder", is_sync_of("/example.org/anna/new>"), named.ended)
    said = first(calls, "word of it", is_sent("status=sent"), synced.ended)
    forgotten = first(calls, "record of it", is_sync_of("-wal>"), folder.ended)
    assert file.ended < named.began <= named.ended < folder.began
    assert folder.ended < said.began and folder.ended < forgotten.began
    assert not [c for c in calls if is_sync_of("-wal>")(c) and named.ended < c.began < folder.ended]


@pytest.mark.needs("strace")
def test_large_content_is_synced_with_its_folder_before_250(tmp_path: Path) -> None:
    """Content beside the database: the file, then its folder, then the row that names it, then the 250."""
    calls = trace_of_a_message(tmp_path, 100_000)
    go_ahead = first(calls, "354", is_sent('"354 '))
    acknowledged = first(calls, "250", is_sent('"250 2'), go_ahead.ended)
    synced = [
        c for c in calls if go_ahead.ended < c.began and c.ended < acknowledged.began and c.name[0] == "f"
    ]
    paths = [call.text.partition("<")[2].partition(">")[0] for call in synced]
    wal = next(number for number, path in enumerate(paths) if path.endswith("-wal"))
    content = paths[0]
    assert "/content/" in content and str(Path(content).parent) in paths[1:wal], paths


@pytest.mark.needs("strace")
@pytest.mark.parametrize("size", [1000, 200_000])
def test_what_is_collected_is_ours_before_it_is_deleted_there(tmp_path: Path, size: int) -> None:
    """The file, its name, the ledger's row, the name with the queue id, the spool, the last name, the row that says
    so: each is synced before the next begins, and all of it before DELE."""
    trace = tmp_path / "trace"
    password = reachable(tmp_path) / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    with Peers() as peers:
        server = peers.start(ScriptedPop3([("a", message(1))]))
        more = (
            f'[[collect]]\nname = "isp"\nprotocol = "pop3"\nhost = "127.0.0.1"\nport = {server.port}\n'
            f'tls = "none"\nusername = "anna"\npassword_file = "{password}"\nto = "anna@example.org"\n'
        )
        with RunningCmail(tmp_path, settings=ONE, more=more) as cmail:
            wait_for(lambda: cmail.mailbox("anna@example.org") and not server.messages, "the first one")
            server.messages.append(("b", message(2, size)))
            words = ("-p", str(cmail.pid("link")), "-y", "-s", "200", "-e", CALLS, "-o", str(trace))
            with attached(cmail.pid("worker-0"), *words):
                [result] = cmail.ask("link", "collect.now")["results"]
                assert result["fetched"] == result["deleted"] == 1
                wait_for(lambda: len(cmail.mailbox("anna@example.org")) == 2, "the second one")
    calls = calls_of(trace)
    last = -1
    for what, is_it in _STEPS_OF_COLLECTING:
        call = first(calls, what, is_it, last)
        assert call.began > last, what
        last = call.ended
    dele = first(calls, "DELE", is_sent("DELE "))
    assert dele.began > last


def _is_renamed(end: str) -> Callable[[Call], bool]:
    """Of a file in the folder for what is being collected, to a name with such an end."""
    return lambda c: c.name == "rename" and "/collect/incoming/" in c.text and c.text.endswith(f'{end}") = 0')


_STEPS_OF_COLLECTING = (
    ("sync of the file", is_sync_of("/incoming/new-")),
    ("its name", _is_renamed("")),
    ("sync of the folder", is_sync_of("/collect/incoming>")),
    ("row of the ledger", is_sync_of("/collect.sqlite3-wal>")),
    ("name with the queue id", _is_renamed("")),
    ("sync of the folder", is_sync_of("/collect/incoming>")),
    ("the spool", lambda c: is_sync_of("-wal>")(c) and "/spool/" in c.text),
    ("the last name", _is_renamed(".taken")),
    ("sync of the folder", is_sync_of("/collect/incoming>")),
    ("row that says so", is_sync_of("/collect.sqlite3-wal>")),
)
