"""[[collect]] in the settings file: what is wrong is said with its place, and nothing is half obeyed."""

import os
from pathlib import Path

import pytest

from cmail.app.config import load, load_text, notes
from cmail.app.snapshot import Source
from cmail.settings import SettingError

HEAD = '[host]\nhostname = "mail.example.org"\ndomains = ["example.org"]\ndata_dir = "/nowhere"\nuser = "nobody"\n'
WHOLE = {
    "name": '"isp"',
    "protocol": '"imap"',
    "host": '"imap.isp.example"',
    "username": '"anna"',
    "password_file": '"/x"',
    "to": '"anna@example.org"',
}


def text(**changes: str) -> str:
    """One account; "" leaves a key out."""
    lines = [f"{key} = {value}" for key, value in {**WHOLE, **changes}.items() if value]
    return "\n[[collect]]\n" + "\n".join(lines) + "\n"


def problems(*accounts: str) -> list[str]:
    """The keys of all that is wrong."""
    try:
        load_text(HEAD + "".join(accounts), is_machine_checked=False)
    except SettingError as error:
        return [problem.key for problem in error.problems]
    return []


GOOD = [
    {},
    {"protocol": '"pop3"', "keep": "true", "largest": '"2MiB"', "every": '"0s"'},
    {"host": '"192.0.2.1"', "port": "1143", "tls": '"none"'},
    {"host": '"2001:db8::1"', "to": '"@Example.ORG"', "folder": '"Entwürfe"'},
]
BAD = [
    ("name", '"a b"'),
    ("name", '""'),
    ("name", '"' + "x" * 41 + '"'),
    ("name", ""),
    ("protocol", '"smtp"'),
    ("host", '"a b"'),
    ("host", '"imap.isp.example:993"'),
    ("host", '""'),
    ("port", "70000"),
    ("username", '""'),
    ("password_file", ""),
    ("to", '"anna"'),
    ("to", '"@"'),
    ("to", '"anna@elsewhere.example"'),
    ("to", '"@elsewhere.example"'),
    ("largest", "10"),
    ("every", '"1s"'),
    ("every", '"30d"'),
    ("folder", '""'),
    ("tls", '"yes"'),
]


@pytest.mark.parametrize("changes", GOOD)
def test_what_can_be(changes: dict[str, str]) -> None:
    """Both protocols, addresses, a whole domain."""
    assert problems(text(**changes)) == []


@pytest.mark.parametrize(("key", "value"), BAD)
def test_what_cannot_be(key: str, value: str) -> None:
    """One problem, at its key."""
    assert problems(text(**{key: value})) == [f"collect[1].{key}"]


def test_two_accounts_are_two_mailboxes() -> None:
    """The same name, and the same mailbox under another name, are refused: nobody could tell them apart."""
    assert problems(text(), text(username='"bert"')) == ["collect[2].name"]
    assert problems(text(), text(name='"two"', port="1143")) == ["collect[2].username"]
    assert problems(text(), text(name='"two"', folder='"Other"')) == []


def test_the_case_of_a_domain_does_not_matter() -> None:
    """`@Example.ORG` is our example.org; the local part stays as it is."""
    settings = load_text(HEAD + text(to='"Anna@Example.ORG"'), is_machine_checked=False)
    assert settings.collect[0].to == "Anna@example.org"


def test_a_password_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """As smtp.password_file: 0644 is said with its key, 0600 is fine; and it is read with the settings."""
    password, config = tmp_path / "password", tmp_path / "cmail.toml"
    password.write_text("s3cret\n")
    password.chmod(0o644)
    config.write_text(HEAD + text(password_file='"password"'))
    with pytest.raises(SettingError) as caught:
        load(str(config))
    assert "collect[1].password_file" in str(caught.value) and "chmod 600" in str(caught.value)
    password.chmod(0o600)
    snapshot = Source(str(config), dict(os.environ)).read(1)
    assert snapshot.passwords == {str(password): "s3cret"}
    assert "s3cret" not in repr(snapshot)


def test_a_password_on_an_open_line_is_worth_a_word() -> None:
    """Allowed, and said in `cmail config check`."""
    settings = load_text(HEAD + text(tls='"opportunistic"'), is_machine_checked=False)
    assert any("collect isp" in note for note in notes(settings))


def test_an_ipv6_address_with_and_without_brackets() -> None:
    """It is one host; with brackets it was looked up as a name, which does not exist."""
    hosts = [
        load_text(HEAD + text(host=f'"{host}"'), is_machine_checked=False).collect[0].host
        for host in ("2001:db8::1", "[2001:db8::1]", "imap.isp.example")
    ]
    assert hosts == ["2001:db8::1", "2001:db8::1", "imap.isp.example"]
