"""`cmail setup`: the four questions over a pipe and in a terminal, with the server down and with it up."""

import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from cmail.admin import ports
from cmail.admin.ports import port_fault
from cmail.app.starter import starter_text
from tests.integration.test_commands import cmail
from tests.support.house import SETTINGS, RunningCmail, reachable
from tests.support.peers import Peers
from tests.support.ports import free_port
from tests.support.sink_mx import SinkMx
from tests.support.terminal import terminal

USER: Final = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
QUIET: Final = ("office.example", "", "later", "anna", "", "here", "n", "y")


def lines(*answers: str) -> str:
    """As a pipe has them."""
    return "".join(f"{answer}\n" for answer in answers)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A starter file for a user that is there."""
    folder = reachable(tmp_path)
    path = folder / "cmail.toml"
    path.write_text(starter_text(str(folder / "data")).replace('user = "cmail"', f'user = "{USER}"'))
    return path


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[RunningCmail, SinkMx]]:
    """A server that nobody has set up, and a provider's."""
    with Peers() as peers:
        sink = peers.start(SinkMx(users={"office": "isp secret"}, extensions=("PIPELINING", "AUTH PLAIN")))
        with RunningCmail(tmp_path, settings=SETTINGS, users=()) as house:
            yield house, sink


def test_with_the_server_down(config: Path) -> None:
    """The file keeps its comments, user and postmaster are there, a good password is told, the way on too."""
    code, out, error = cmail("setup", config=config, stdin=lines(*QUIET))
    assert code == 0, out + error
    text = config.read_text()
    assert 'domains = ["office.example"]' in text and 'hostname = "mail.office.example"' in text
    assert "# Mail for these domains is ours" in text
    assert re.search(r"The password of anna@office.example is [a-z2-9-]{19} ", out)
    assert f"cmail serve --config {config}" in out
    assert cmail("user", "list", config=config)[1] == "anna@office.example\n"
    assert "postmaster@office.example -> anna@office.example" in cmail("alias", "list", config=config)[1]
    assert cmail("config", "check", config=config)[0] == 0
    if os.geteuid() == 0:
        data = config.parent / "data"
        assert {path.owner() for path in data.rglob("*")} == {USER}


def test_without_a_file(tmp_path: Path) -> None:
    """It begins with the starter file, and makes it at the end."""
    path = reachable(tmp_path) / "etc" / "cmail.toml"
    code, out, error = cmail("setup", config=path, stdin=lines(*QUIET[:-1], "n"))
    assert (code, path.exists()) == (0, False) and "Nothing was changed." in out
    code, _, error = cmail("setup", config=path, stdin=lines(*QUIET))
    is_there = os.geteuid() != 0 or any(entry.pw_name == "cmail" for entry in pwd.getpwall())
    assert code == (0 if is_there else 78), error
    assert path.exists() == is_there


def test_with_the_server_up(running: tuple[RunningCmail, SinkMx]) -> None:
    """The way out is tried, the server takes all over, and messages go through: here and elsewhere."""
    house, sink = running
    answers = ["office.example", "mail.office.example", "host", "127.0.0.1", str(sink.port), "opportunistic"]
    answers += ["office", "isp secret", "Anna", "anna's secret", "1", "no", "yes", "bob@else.example"]
    code, out, error = cmail("setup", config=house.config, stdin=lines(*answers))
    assert code == 0, out + error
    assert re.search(r"ok +Log-in: Logged in as office", out), out
    assert "Delivered into the mailbox of anna@office.example" in out and "Relayed: " in out
    assert len(house.wait_for_mail("anna@office.example")) == 1
    [taken] = [each for each in sink.taken if "bob@else.example" in each.recipients[0]]
    assert taken.user == "office" and "postmaster@office.example" in taken.mail
    assert "isp secret" not in out + house.config.read_text() and "anna's secret" not in out
    secrets = [path for path in (house.data / "secrets").iterdir() if path.name.startswith("smtp-password")]
    assert [path.stat().st_mode & 0o777 for path in secrets] == [0o600]


def test_a_port_for_the_internet(running: tuple[RunningCmail, SinkMx]) -> None:
    """It is opened at once when it can be; one that another program has is refused."""
    house, sink = running
    port = free_port()
    tail = ["internet", str(port), "no", "no", "yes", ""]
    code, out, error = cmail("setup", config=house.config, stdin=lines(*QUIET[:5], *tail))
    assert code == 0, out + error
    assert f"0.0.0.0:{port}" in [each["address"] for each in house.status()["listeners"]]
    tail[1] = str(sink.port)
    code, _, error = cmail("setup", config=house.config, stdin=lines(*QUIET[:5], *tail))
    assert code == 65 and "another program has it" in error


WRONG: Final = [
    ("nothing", "", 64, "the input ends"),
    ("no domain", "office\n", 65, "has no dot"),
    ("no such way", lines("office.example", "", "by pigeon"), 65, "none of 1 to 3"),
    ("no user", lines(*QUIET[:3]), 64, "the input ends"),
    ("short", lines(*QUIET[:4], "short"), 65, "At least 8"),
    ("neither", lines(*QUIET[:6], "perhaps"), 65, "neither yes nor no"),
]


@pytest.mark.parametrize(
    ("given", "code", "words"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_what_is_wrong_on_a_pipe(config: Path, given: str, code: int, words: str) -> None:
    """It ends there, because the lines behind mean other questions; nothing is changed."""
    before = config.read_text()
    found, _, error = cmail("setup", config=config, stdin=given)
    assert found == code and words in error
    assert config.read_text() == before and not (config.parent / "data").exists()


@pytest.mark.needs("terminal")
def test_in_a_terminal(config: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is wrong is asked again, and a password is not shown while it is typed."""
    command = [sys.executable, "-m", "cmail", "setup", "--config", str(config)]
    with terminal(tmp_path_factory.mktemp("pts")) as (main, side):
        process = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, start_new_session=True)
        os.close(side)
        seen = answered(main)
        assert process.wait(60) == 0, seen
        os.close(main)
    assert b"can log in" in seen and b"anna's secret" not in seen and b"For example: example.com" in seen


def answered(main: int) -> bytes:
    """All that was seen while the questions were answered."""
    seen = b""
    for question, answer in (
        (b"addresses: ", b"office"),
        (b"server [", b""),
        (b"no dot", b"office.example"),
        (b"server [", b""),
        (b"Number", b"3"),
        (b"first user", b"anna"),
        (b"Password", b"anna's secret"),
        (b"Number", b"1"),
        (b"587)?", b""),
        (b"Save?", b""),
    ):
        part = b""
        while question not in part or not part.rstrip(b" ").endswith(b":"):
            part += os.read(main, 4096)
        seen += part
        os.write(main, answer + b"\n")
    try:
        while part := os.read(main, 4096):
            seen += part
    except OSError:  # the other side is closed
        pass
    return seen


@pytest.mark.needs("root")
def test_a_low_port_is_for_who_has_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts are the rights of the process that would open it, not ours: one that has dropped them cannot,
    and starting the server again helps."""
    monkeypatch.setattr(ports, "_first_free", lambda: 1024)
    number = next(n for n in range(900, 1024) if port_fault(f"127.0.0.1:{n}", 0) is None)
    drop = "import os, sys; os.setuid(65534); print('dropped', flush=True); sys.stdin.read()"
    dropped = subprocess.Popen([sys.executable, "-c", drop], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert dropped.stdin is not None and dropped.stdout is not None
    dropped.stdout.readline()
    try:
        fault = port_fault(f"127.0.0.1:{number}", dropped.pid)
        assert fault is not None and not fault.is_for_ever and "as root" in fault.words
        assert port_fault(f"127.0.0.1:{number}", os.getpid()) is None
    finally:
        dropped.stdin.close()
        dropped.wait(60)
    assert port_fault(f"127.0.0.1:{number}", 2**22 + 1) is not None
