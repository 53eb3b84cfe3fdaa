"""`cmail check-upstream`: the steps on a terminal, and its exit code."""

from pathlib import Path

import pytest

from cmail.cli.main import run
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx

SETTINGS = """\
[host]
hostname = "mail.example.org"
domains = ["example.org"]
data_dir = "data"

[smtp]
host = "127.0.0.1"
port = {port}
username = "anna"
password_file = "password"
"""


def check(folder: Path, sink: SinkMx, *more: str) -> int:
    """Run it against a server; its exit code."""
    with Peers() as peers:
        config = folder / "cmail.toml"
        config.write_text(SETTINGS.format(port=peers.start(sink).port))
        (folder / "password").write_text("secret\n")
        (folder / "password").chmod(0o600)
        return run(["check-upstream", "--config", str(config), *more])


def test_each_step_has_a_line_and_all_fine_is_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The password is read from its file; MAIL is asked and taken back, no message is sent."""
    sink = SinkMx(users={"anna": "secret"}, extensions=("AUTH PLAIN",))
    assert check(tmp_path, sink, "--from", "anna@example.org") == 0
    said = capsys.readouterr().out
    assert [line.split()[1] for line in said.splitlines()][:3] == ["Name", "Connection", "Greeting"]
    assert "Logged in as anna (PLAIN)." in said
    assert sink.lines("MAIL") == ["MAIL FROM:<anna@example.org>"]
    assert not sink.taken


def test_what_failed_says_what_to_do_and_what_was_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong password: 69, advice, and with --raw the lines of the server, without the password."""
    sink = SinkMx(users={"anna": "other"}, extensions=("AUTH PLAIN",))
    assert check(tmp_path, sink, "--raw") == 69
    said = capsys.readouterr().out
    assert "FAILED Log-in" in said
    assert "What to do: Check user name" in said
    assert "C: AUTH PLAIN ..." in said
    assert "S: 535 5.7.8 no" in said
    assert "secret" not in said
    assert "AGFubmEAc2VjcmV0" not in said


def test_by_mx_it_wants_a_domain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is no one server to try."""
    config = tmp_path / "cmail.toml"
    config.write_text('[host]\nhostname = "mail.example.org"\n[smtp]\ndelivery = "mx"\n')
    assert run(["check-upstream", "--config", str(config)]) == 64
    assert "name a domain" in capsys.readouterr().err
