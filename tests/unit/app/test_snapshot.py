"""The settings of a running server, and the secrets that don't stand in them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cmail.app.snapshot import Source, handed_over
from cmail.settings import SettingError

USER = 'user = "nobody"\n[smtp]\nusername = "anna"\n'


def config(folder: Path, more: str = "") -> Path:
    """A settings file."""
    path = folder / "cmail.toml"
    path.write_text(f"[host]\n{USER}{more}")
    return path


def test_password_from_the_environment(tmp_path: Path) -> None:
    """$CMAIL_SMTP_PASSWORD is taken, and taken out of what other programs see."""
    environ = {"CMAIL_SMTP_PASSWORD": "secret", "A": "b"}
    source = Source(str(config(tmp_path)), environ)
    assert environ == {"A": "b"}
    snapshot = source.read(1)
    assert snapshot.smtp_password == "secret"
    assert "secret" not in repr(snapshot)


def test_password_does_not_stay_in_proc(tmp_path: Path) -> None:
    """What the kernel shows of the environment of a server (and of its children) has no password in it."""
    code = (
        "import sys; from cmail.app.snapshot import Source\n"
        "assert Source(sys.argv[1]).read(1).smtp_password == 'hush-hush'\n"
        "sys.stdout.buffer.write(open('/proc/self/environ', 'rb').read())"
    )
    environ = {**os.environ, "CMAIL_SMTP_PASSWORD": "hush-hush", "OTHER": "stays"}
    command = [sys.executable, "-c", code, str(config(tmp_path))]
    shown = subprocess.run(command, env=environ, capture_output=True, check=True).stdout
    assert b"OTHER=stays" in shown and b"hush" not in shown


def test_password_from_a_file(tmp_path: Path) -> None:
    """The file wins; its final line end does not belong to the password."""
    secret = tmp_path / "secret"
    secret.write_text("pass word\n")
    secret.chmod(0o600)
    path = config(tmp_path, 'password_file = "secret"\n')
    source = Source(str(path), {"CMAIL_SMTP_PASSWORD": "other"})
    assert source.read(1).smtp_password == "pass word"
    secret.write_text("new")
    assert source.read(2).smtp_password == "new"


def test_password_of_two_lines(tmp_path: Path) -> None:
    """A file that holds more than the password is refused (nothing may begin a line of SMTP)."""
    secret = tmp_path / "secret"
    secret.write_text("a\nb\n")
    secret.chmod(0o600)
    with pytest.raises(SettingError, match="the password alone, on one line"):
        Source(str(config(tmp_path, 'password_file = "secret"\n')), {}).read(1)


def test_what_another_process_is_handed(tmp_path: Path) -> None:
    """The text and the number are enough to have the same settings; files are not looked at again."""
    path = config(tmp_path, 'password_file = "/only/for/root"\n')
    snapshot = handed_over(7, str(path), path.read_text(), "secret")
    assert (snapshot.number, snapshot.smtp_password) == (7, "secret")
    assert snapshot.settings.host.data_dir == "/var/lib/cmail"


def test_folder_that_is_gone(tmp_path: Path) -> None:
    """No folder, no settings: said in words."""
    with pytest.raises(SettingError, match="cannot be read"):
        Source(str(tmp_path / "gone" / "cmail.toml"), {})
