"""FileDesk and arrays of tables: rows that come and go, sockets that only the file may name, rows that mean
something together with another change."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest

from cmail.app.config import load_text
from cmail.app.desk import FileDesk
from cmail.web.desk import DraftError

FILE = """\
[host]
hostname = "mail.example.org"
domains = ["example.org", "branch.example.org"]
data_dir = "data"

[[listener]]
kind = "smtp"  # from the Internet
address = "127.0.0.1:2525"

[[listener]]
kind = "lmtp"
address = "unix:/run/cmail/lmtp"

[local]
delivery = "lmtp"
lmtp = "unix:/run/dovecot/lmtp"
"""
SMTP = {"kind": "smtp", "address": "127.0.0.1:2525"}
LMTP = {"kind": "lmtp", "address": "unix:/run/cmail/lmtp"}
FORWARD = {"domain": "branch.example.org", "host": "10.0.0.7"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cmail.toml"
    path.write_text(FILE)
    return path


def desk_of(file: Path) -> FileDesk:
    def apply() -> Awaitable[None]:
        return asyncio.sleep(0)

    return FileDesk(str(file), str(file.parent / "data"), apply)


def save(desk: FileDesk) -> None:
    asyncio.run(desk.save("anna", {}))


def test_rows_come_and_go_and_the_file_stays_what_it_was(file: Path) -> None:
    """A row more, all rows away, the same rows again: each time the file is read as it was meant, and what
    stands around them is untouched."""
    desk = desk_of(file)
    more = [SMTP, LMTP, {"kind": "submission", "address": "127.0.0.1:2587"}]
    desk.change({"listener": more, "forward": [{**FORWARD, "domain": "b.example"}]}, "anna")
    save(desk)
    settings = load_text(file.read_text(), is_machine_checked=False)
    assert [each.kind for each in settings.listener] == ["smtp", "lmtp", "submission"]
    assert [each.domain for each in settings.forward] == ["b.example"]
    assert "# from the Internet" in file.read_text()
    desk.change({"listener": [], "forward": []}, "anna")
    save(desk)
    settings = load_text(file.read_text(), is_machine_checked=False)
    assert (settings.listener, settings.forward) == ((), ())
    assert settings.local.lmtp == "unix:/run/dovecot/lmtp"
    desk.change({"listener": [SMTP]}, "anna")
    save(desk)
    assert [each.kind for each in load_text(file.read_text(), is_machine_checked=False).listener] == ["smtp"]


@pytest.mark.parametrize(
    "values",
    [
        {"listener": [SMTP, {"kind": "lmtp", "address": "unix:/etc/passwd"}]},
        {"local.lmtp": "unix:/tmp/other"},
    ],
)
def test_a_socket_is_named_in_the_file_only(file: Path, values: dict[str, object]) -> None:
    """Neither by itself nor within a row: it is a path."""
    with pytest.raises(DraftError, match="in the file only"):
        desk_of(file).change(values, "anna")


def test_a_socket_that_the_file_names_may_stay(file: Path) -> None:
    """A form that has it on board is not refused for it."""
    desk = desk_of(file)
    desk.change({"listener": [LMTP], "local.lmtp": "unix:/run/dovecot/lmtp", "local.separator": "-"}, "anna")
    assert [change.key for change in desk.changes()] == ["listener", "local.separator"]


def test_what_another_change_makes_right_is_taken(file: Path) -> None:
    """A domain of ours cannot be forwarded to a host; once it has left our domains, in the draft, it can."""
    desk = desk_of(file)
    with pytest.raises(DraftError, match=r"in host\.domains too"):
        desk.change({"forward": [FORWARD]}, "anna")
    desk.change({"host.domains": ["example.org"]}, "anna")
    desk.change({"forward": [FORWARD]}, "anna")
    save(desk)
    assert load_text(file.read_text(), is_machine_checked=False).forward[0].domain == "branch.example.org"


def test_changes_show_the_rows_that_differ(file: Path) -> None:
    """What went, what came; where the order alone is another, all of them."""
    desk = desk_of(file)
    new = {"kind": "submission", "address": "127.0.0.1:2587"}
    desk.change({"listener": [LMTP, new]}, "anna")
    assert [(each.old, each.new) for each in desk.changes()] == [
        ('{kind = "smtp", address = "127.0.0.1:2525"}', '{kind = "submission", address = "127.0.0.1:2587"}')
    ]
    desk.change({"listener": [SMTP, LMTP, new]}, "anna")
    assert [each.old for each in desk.changes()] == [""]
    desk.change({"listener": [LMTP, SMTP]}, "anna")
    assert desk.changes()[0].old.startswith('[{kind = "smtp"')
    assert desk.changes()[0].new.startswith('[{kind = "lmtp"')
