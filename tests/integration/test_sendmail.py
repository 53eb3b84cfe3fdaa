"""sendmail as programs call it: durable or an exit code that says no, with the server up or down."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cmail.cli import leave as leaving
from cmail.cli.exits import Exit, Refusal
from cmail.cli.leave import leave
from cmail.mail.address import parse_address
from cmail.mail.envelope import Envelope, Recipient
from tests.support.house import RunningCmail, wait_for

MESSAGE = b"From: a@example.org\nTo: anna@example.org\nSubject: x\n\nhello\n"
ENTRY = "import sys; from cmail.cli.sendmail import {0}; {0}()"


def run(
    house: RunningCmail, *words: str, stdin: bytes = b"", program: str = "main", user: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Call it with -C; as another user, when one is given."""
    code = ENTRY.format(program)
    if user is not None:  # what Python needs is imported while it may be read
        preload = "import os, ctypes, pwd, base64, json; import cmail.cli.sendmail, cmail.cli.sendmail_smtp; "
        code = f"{preload}os.setgid({user}); os.setuid({user}); {code}"
    return subprocess.run(
        [sys.executable, "-c", code, "-C", str(house.config), *words],
        input=stdin,
        capture_output=True,
        timeout=60,
    )


@pytest.fixture
def house(tmp_path: Path) -> RunningCmail:
    """A data folder that a server has made; the server is down."""
    cmail = RunningCmail(tmp_path)
    cmail.start()
    cmail.stop()
    return cmail


def dropped(house: RunningCmail) -> list[Path]:
    """What waits in the drop folder."""
    return sorted((house.data / "drop").iterdir())


# name: (arguments, input, recipients, words in the content)
CALLS: dict[str, tuple[list[str], bytes, list[str], list[bytes]]] = {
    "recipients": (["anna"], b"hello\n", ["anna@example.org"], [b"Message-ID: <", b"Date: ", b"From: ", b"\n\nhello\n"]),
    "-t": (["-t"], b"To: A <a@example.net>,\n b\nCc: c\nBcc: d\n\nx\n", ["a@example.net", "b@example.org", "c@example.org", "d@example.org"], [b"To: A <a@example.net>,\n b\nCc: c\n\nx\n"]),
    "-t and more": (["-t", "e"], b"To: a\n\nx\n", ["e@example.org", "a@example.org"], []),
    "each once": (["a", "A@example.org", "a"], b"x\n", ["a@example.org", "A@example.org"], []),
    "resent": (["-t"], b"Resent-To: r\nTo: a\n\nx\n", ["r@example.org"], [b"Resent-To: r\nTo: a\n"]),
    "list in one argument": (["a,b <c@example.net>"], b"x\n", ["a@example.org", "c@example.net"], []),
    "full name": (["-F", "Jörg, of sales", "a"], b"x\n", ["a@example.org"], [b"From: =?UTF-8?B?"]),
    "full name in quotes": (["-F", "Doe, J", "a"], b"x\n", ["a@example.org"], [b'From: "Doe, J" <']),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_calls(tmp_path: Path, name: str) -> None:
    """Who gets it and what is added, as it stands in the drop folder."""
    arguments, octets, recipients, words = CALLS[name]
    house = RunningCmail(tmp_path)
    (house.data / "drop").mkdir(parents=True)
    done = run(house, *arguments, stdin=octets)
    assert (done.returncode, done.stderr) == (0, b"")
    left = dropped(house)[0].read_bytes()
    line, _, content = left.partition(b"\n")
    assert [to["address"] for to in json.loads(line)["to"]] == recipients
    for word in words:
        assert word in content
    assert b"Bcc" not in content


# name: (arguments, input, exit code, words)
REFUSED: dict[str, tuple[list[str], bytes, int, bytes]] = {
    "nobody": ([], b"x\n", 64, b"no recipient"),
    "nobody in the header": (["-t"], b"Subject: x\n\n", 64, b"no recipient"),
    "bad address": (["a@@b"], b"x\n", 65, b"a@@b"),
    "bad header address": (["-t"], b'To: "a\n\n', 65, b"quote"),
    "too large": (["a"], b"x" * 70_000, 65, b"larger"),
    "loop": (["a"], b"Received: x\n" * 101 + b"\nx\n", 65, b"loop"),
    "daemon": (["-bd"], b"", 64, b"cmail serve"),
    "address test": (["-bt"], b"", 64, b"-bt"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(tmp_path: Path, name: str) -> None:
    """Nothing is left behind, and the exit code says why."""
    arguments, octets, code, words = REFUSED[name]
    more = '\n[smtp.advanced]\nmax_message_size = "64KiB"\n'
    house = RunningCmail(tmp_path, more=more)
    (house.data / "drop").mkdir(parents=True)
    done = run(house, *arguments, stdin=octets)
    assert done.returncode == code
    assert words in done.stderr
    assert dropped(house) == []


def test_no_drop_folder_and_no_settings(tmp_path: Path) -> None:
    """75 when it cannot be left, 78 when nobody knows where; never 0."""
    house = RunningCmail(tmp_path)
    assert run(house, "anna", stdin=MESSAGE).returncode == 75
    house.config.unlink()
    done = run(house, "anna", stdin=MESSAGE)
    assert done.returncode == 78 and b"settings" in done.stderr


def test_a_disk_that_does_not_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When file or name cannot be made durable, nothing is left and the answer is no."""
    (tmp_path / "drop").mkdir()

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    envelope = Envelope(None, (Recipient(parse_address(b"a@example.org")),))
    for part, name in ((os, "fsync"), (leaving, "sync_name"), (os, "rename")):
        with monkeypatch.context() as patch:
            patch.setattr(part, name, fail)
            with pytest.raises(Refusal) as refused:
                leave(str(tmp_path), envelope, [b"x"], 100)
            assert refused.value.code == Exit.TEMPORARY
        assert list((tmp_path / "drop").iterdir()) == []


@pytest.mark.needs("strace")
def test_durable_before_it_ends(house: RunningCmail, tmp_path: Path) -> None:
    """The file is synced before it gets its name, and its name before the exit."""
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-e", "trace=fsync,rename,syncfs,exit_group", "-o", str(trace)]
    code = ENTRY.format("main")
    subprocess.run(
        [*command, sys.executable, "-c", code, "-C", str(house.config), "anna"], input=MESSAGE, check=True
    )
    calls = [line.split(None, 1)[1].partition("(")[0] for line in trace.read_text().splitlines()]
    assert [c for c in calls if c in ("fsync", "rename", "syncfs", "exit_group")] == [
        "fsync", "rename", "fsync", "exit_group",
    ]  # fmt: skip


def test_killed_in_the_middle_leaves_nothing_to_send(house: RunningCmail) -> None:
    """A sendmail that is killed while it reads has not sent; a file without its final name is not taken."""
    command = [sys.executable, "-c", ENTRY.format("main"), "-C", str(house.config), "anna"]
    sender = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert sender.stdin is not None
    sender.stdin.write(MESSAGE + b"x" * 200_000)
    sender.stdin.flush()
    wait_for(lambda: dropped(house), "the file")
    sender.send_signal(signal.SIGKILL)
    sender.wait()
    assert [path.name[:4] for path in dropped(house)] == ["new-"]
    with house:
        assert run(house, "anna", stdin=MESSAGE).returncode == 0
        assert len(house.wait_for_mail("anna@example.org")) == 1


def test_picked_up_when_the_server_starts(house: RunningCmail) -> None:
    """What was left while it was down is delivered at its start."""
    assert run(house, "-i", "-f", "bob@example.net", "anna", stdin=MESSAGE + b".\nmore\n").returncode == 0
    assert stat.S_IMODE(dropped(house)[0].stat().st_mode) == 0o644
    with house:
        message = house.wait_for_mail("anna@example.org")[0]
        assert b"Return-Path: <bob@example.net>" in message
        assert message.endswith(b"\nhello\n.\nmore\n")
        wait_for(lambda: dropped(house) == [], "the file to be gone")


def test_picked_up_within_half_a_second(tmp_path: Path) -> None:
    """With the server up it looks four times a second; the best of some tries counts, others may have the machine."""
    took_s = [1e9]
    with RunningCmail(tmp_path) as house:
        while min(took_s) >= 1.5 and len(took_s) < 10:
            assert run(house, "-t", stdin=MESSAGE).returncode == 0
            began = time.monotonic()
            house.wait_for_mail("anna@example.org", len(took_s))
            took_s.append(time.monotonic() - began)
    assert min(took_s) < 1.5, took_s


@pytest.mark.needs("root")
def test_every_user_may_send(tmp_path: Path) -> None:
    """A user without any right but to write there: his uid stands in the trace, nobody can list the folder."""
    with RunningCmail(tmp_path) as house:
        assert stat.S_IMODE((house.data / "drop").stat().st_mode) == 0o1733
        done = run(house, "-f", "", "anna", stdin=MESSAGE, user=4711)
        assert (done.returncode, done.stderr) == (0, b"")
        message = house.wait_for_mail("anna@example.org")[0]
        assert b"(CMail, from uid 4711)" in message and b"Return-Path: <>" in message


@pytest.mark.needs("root")
def test_who_may_not_write_gets_75(house: RunningCmail) -> None:
    """A folder that is closed: try again later, and why."""
    os.chmod(house.data / "drop", 0o700)
    done = run(house, "anna", stdin=MESSAGE, user=4711)
    assert done.returncode == 75 and b"1733" in done.stderr


SESSIONS = {
    "crlf": b"EHLO me\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<anna>\r\nDATA\r\n..x\r\n.\r\nQUIT\r\n",
    "lf": b"EHLO me\nMAIL FROM:<a@example.net>\nRCPT TO:<anna>\nDATA\n..x\n.\nQUIT\n",
}


@pytest.mark.parametrize("name", SESSIONS)
def test_smtp_on_a_pipe(house: RunningCmail, name: str) -> None:
    """-bs: a whole session, durable before its 250, with the line ends that the program has."""
    done = run(house, "-bs", stdin=SESSIONS[name])
    codes = [line[:3] for line in done.stdout.splitlines() if line[3:4] == b" "]
    assert codes == [b"220", b"250", b"250", b"250", b"354", b"250", b"221"]
    assert done.returncode == 0
    assert b"STARTTLS" not in done.stdout
    left = dropped(house)[0].read_bytes()
    assert left.endswith(b"\n.x\r\n") and b"Message-ID" in left
    os.unlink(dropped(house)[0])
    os.rmdir(house.data / "drop")
    refused = run(house, "-bs", stdin=SESSIONS[name])
    assert b"\n451 4.3.0 " in refused.stdout


def test_mailq_newaliases_and_flush(tmp_path: Path) -> None:
    """The old names: the queue in its layout, a word about aliases, a flush."""
    with RunningCmail(tmp_path) as house:
        assert run(house, program="mailq").stdout == b"Mail queue is empty\n"
        assert run(house, "eve@example.net", stdin=MESSAGE).returncode == 0
        wait_for(lambda: [row for row in house.queue() if row["reason"]], "an attempt")
        for listed in (run(house, program="mailq"), run(house, "-bp")):
            assert b"eve@example.net" in listed.stdout and b"in 1 Request." in listed.stdout
        assert run(house, "-q").returncode == 0
        assert run(house, "-qReve").returncode == 0
        done = run(house, program="newaliases")
        assert done.returncode == 0 and b"at once" in done.stdout


def test_quick_start(house: RunningCmail) -> None:
    """A start takes a tenth of a second: what a script calls a hundred times must not weigh."""
    code = "import sys; import cmail.cli.sendmail; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    for heavy in ("asyncio", "pydantic", "click", "apsw", "cryptography", "email", "argparse"):
        assert heavy not in loaded.split()
