"""FileDesk: a draft, its check, Save Settings, a file that is edited by hand meanwhile, versions."""

import asyncio
from pathlib import Path

import pytest

from cmail.app.desk import FileDesk
from cmail.web.desk import DraftError

FILE = """\
# our office
[host]
hostname = "mail.example.org"  # greets with it
domains = ["example.org"]
data_dir = "data"

# the provider
[smtp]
host = "smtp.isp.example"
port = 587

[[listener]]
kind = "smtp"  # from the Internet
address = "127.0.0.1:2525"
"""


class Office:
    """A settings file, its desk, and how often the server was told to read it anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "cmail.toml"
        self.file.write_text(FILE)
        self.applied = 0
        self.desk = self.new_desk()

    def new_desk(self) -> FileDesk:
        return FileDesk(str(self.file), str(self.folder / "data"), self._apply)

    async def _apply(self) -> None:
        self.applied += 1

    def save(self, **keep: str) -> list[str]:
        return list(asyncio.run(self.desk.save("anna", {k.replace("__", "."): v for k, v in keep.items()})))


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_ok_drafts_and_save_writes(office: Office) -> None:
    """OK changes the draft alone; Save Settings lists old and new, writes the file with its comments and
    order, and has the server take it over."""
    office.desk.change({"smtp.port": 25, "smtp.kick": True, "smtp.advanced.timeout": "45s"}, "anna")
    assert office.file.read_text() == FILE
    listed = [(c.key, c.old, c.new) for c in office.desk.changes()]
    assert listed == [
        ("smtp.port", "587", "25"),
        ("smtp.kick", "", "true"),
        ("smtp.advanced.timeout", "", '"45s"'),
    ]
    assert office.save() == [] and office.applied == 1
    expected = FILE.replace("port = 587\n", "port = 25\nkick = true\n")
    assert office.file.read_text() == expected + '\n[smtp.advanced]\ntimeout = "45s"\n'
    assert not office.desk.changes()
    view = office.desk.settings()["smtp.advanced.timeout"]
    assert (view.value, view.default, view.kind, view.is_in_file) == ("45s", "30s", "duration", True)


def test_draft_survives_a_restart_of_the_page(office: Office) -> None:
    """What somebody has typed is there when the admin process was started again."""
    office.desk.change({"smtp.port": 25}, "anna")
    again = office.new_desk()
    assert [change.new for change in again.changes()] == ["25"]


def test_back_to_what_it_was_is_no_change(office: Office) -> None:
    """A value like the file's, or the default of a key that the file has not, leaves the draft."""
    office.desk.change({"smtp.port": 25, "smtp.kick": True}, "anna")
    office.desk.change({"smtp.port": 587, "smtp.kick": False}, "anna")
    assert not office.desk.changes()


def test_reset_takes_the_key_out_of_the_file(office: Office) -> None:
    """The default comes back."""
    office.desk.reset(["smtp.port"], "anna")
    assert [(c.old, c.new) for c in office.desk.changes()] == [("587", "")]
    office.save()
    assert "port" not in office.file.read_text().split("[[listener]]")[0]
    assert office.desk.settings()["smtp.port"].value == 25


def test_a_form_with_a_default_that_was_reset_does_not_write_it_down(office: Office) -> None:
    """OK and another Reset on the same page post all of its controls: the key stays out of the file."""
    office.desk.reset(["smtp.port"], "anna")
    office.desk.change({"smtp.port": 25, "smtp.host": "new.example"}, "anna")
    office.save()
    assert "port =" not in office.file.read_text()
    assert '"new.example"' in office.file.read_text()


@pytest.mark.parametrize(
    "values",
    [
        {"smtp.port": "x"},
        {"smtp.port": 70000},
        {"smtp.delivery": "pigeon"},
        {"smtp.advanced.timeout": "5 foo"},
        {"smtp.nonsense": 1},
        {"host.data_dir": "/etc"},
        {"tls.key_file": "/etc/shadow"},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_at_its_setting(office: Office, values: dict[str, object]) -> None:
    """A wrong value, an unknown key, a key that names a path: a problem at that key, and nothing drafted."""
    with pytest.raises(DraftError) as caught:
        office.desk.change(values, "anna")
    assert [problem.key for problem in caught.value.problems] == list(values)
    assert not office.desk.changes()


def test_everything_wrong_together_is_said_at_once(office: Office) -> None:
    """Save checks the whole; the file and the draft stay."""
    office.file.write_text(
        FILE.replace('host = "smtp.isp.example"', 'host = "smtp.isp.example"\ncolour = "red"')
    )
    office.desk.change({"smtp.trigger_port": 7979}, "anna")
    with pytest.raises(DraftError) as caught:
        office.save()
    assert "smtp.colour" in [problem.key for problem in caught.value.problems]
    assert "7979" not in office.file.read_text() and office.applied == 0
    assert office.desk.changes()


def test_edited_by_hand_meanwhile(office: Office) -> None:
    """Another key: both are in the file. The same key: it is asked, and either answer is obeyed."""
    office.desk.change({"smtp.port": 25, "smtp.username": "office"}, "anna")
    office.file.write_text(FILE.replace("port = 587", 'port = 465\ntls = "implicit"  # by hand'))
    conflict = office.desk.conflicts()[0]
    assert (conflict.key, conflict.before, conflict.theirs, conflict.ours) == (
        "smtp.port",
        "587",
        "465",
        "25",
    )
    with pytest.raises(DraftError) as caught:
        office.save()
    assert [each.key for each in caught.value.conflicts] == ["smtp.port"]
    office.save(smtp__port="theirs")
    text = office.file.read_text()
    assert "port = 465" in text and 'username = "office"' in text and "# by hand" in text
    office.desk.change({"smtp.port": 25}, "anna")
    office.file.write_text(text.replace("port = 465", "port = 2525"))
    office.save(smtp__port="ours")
    assert "port = 25\n" in office.file.read_text()


def test_versions(office: Office) -> None:
    """The file of before is the first; the last twenty stay; one click brings any of them back as it was."""
    for number in range(25):
        office.desk.change({"smtp.port": 1000 + number}, "anna")
        office.save()
    versions = office.desk.versions()
    assert len(versions) == 20 and versions[0].by == "anna"
    assert [(c.key, c.new) for c in versions[0].changes] == [("smtp.port", "1024")]
    before = office.applied
    asyncio.run(office.desk.bring_back(versions[3].number, "bert"))
    assert "port = 1021\n" in office.file.read_text() and office.applied == before + 1
    assert office.desk.versions()[0].by == "bert"
    with pytest.raises(KeyError):
        asyncio.run(office.desk.bring_back(1, "bert"))


def test_first_version_is_the_file_as_a_person_wrote_it(office: Office) -> None:
    """So that the first Save Settings can be undone."""
    office.desk.change({"smtp.port": 25}, "anna")
    office.save()
    asyncio.run(office.desk.bring_back(office.desk.versions()[-1].number, "anna"))
    assert office.file.read_text() == FILE


def test_a_folder_that_cannot_be_written_is_said(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what would help; the draft stays."""

    def refuse(path: str, octets: bytes, mode: int = 0) -> None:
        if path.endswith("cmail.toml"):
            raise PermissionError(13, "Permission denied")

    office.desk.change({"smtp.port": 25}, "anna")
    monkeypatch.setattr("cmail.storage.durable.write_durably", refuse)
    with pytest.raises(DraftError, match="cannot be written: permission denied"):
        office.save()
    assert office.desk.changes() and office.file.read_text() == FILE


def test_password_goes_to_a_file_of_its_own(office: Office) -> None:
    """It never stands in the settings or in the draft; only the server can read it."""
    office.desk.keep_secret("smtp.password_file", "hunter2", "anna")
    office.desk.change({"smtp.username": "office"}, "anna")
    office.save()
    [secret] = (office.folder / "data" / "secrets").iterdir()
    assert secret.read_text() == "hunter2\n" and secret.stat().st_mode & 0o777 == 0o600
    assert f'password_file = "{secret}"' in office.file.read_text()
    for path in (office.folder / "data" / "admin").rglob("*.json"):
        assert "hunter2" not in path.read_text()


def test_listeners_keep_their_comments(office: Office) -> None:
    """A listener more is appended; those that stay are as they were."""
    listeners = [*office.desk.settings()["listener"].value, {"kind": "lmtp", "address": "127.0.0.1:2424"}]
    office.desk.change({"listener": listeners}, "anna")
    office.save()
    text = office.file.read_text()
    assert text.startswith(FILE) and text.endswith('kind = "lmtp"\naddress = "127.0.0.1:2424"\n')


def test_values_at_once_leave_the_draft_of_the_page_alone(tmp_path: Path) -> None:
    """What a program saves is written and applied by itself; what somebody has typed waits for Save Settings,
    and where both mean the same setting the page asks."""
    office = Office(tmp_path)
    office.desk.change({"smtp.port": 465, "smtp.advanced.timeout": "45s"}, "anna")
    saved = asyncio.run(office.desk.save_values({"smtp.port": 2525, "queue.batch": True}, {}, "token shop"))
    assert [change.key for change in saved.changes] == ["smtp.port", "queue.batch"] and saved.is_applied
    text = office.file.read_text()
    assert "port = 2525" in text and "batch = true" in text and "45s" not in text
    assert "# from the Internet" in text and office.applied == 1
    assert {change.key for change in office.desk.changes()} == {"smtp.port", "smtp.advanced.timeout"}
    assert [conflict.key for conflict in office.desk.conflicts()] == ["smtp.port"]
    assert [version.by for version in office.desk.versions()] == ["token shop", ""]


def test_values_at_once_all_or_nothing(tmp_path: Path) -> None:
    """All that is wrong is said at once, each with its key, and nothing is written."""
    office = Office(tmp_path)
    values = {
        "smtp.port": 70000,
        "smtp.nonsense": 1,
        "tls.key_file": "/etc/shadow",
        "listener": [{"kind": "lmtp", "address": "unix:/tmp/x"}],
        "host.domains": [None],
        "smtp.host": {"a": 1},
        "queue.batch": True,
    }
    with pytest.raises(DraftError) as caught:
        asyncio.run(office.desk.save_values(values, {"smtp.password_file": "two\nlines"}, "x"))
    found = {problem.key: problem for problem in caught.value.problems}
    assert set(found) == {*values, "smtp.password_file"} - {"queue.batch"}
    assert {key for key, problem in found.items() if problem.is_file_only} == {"tls.key_file", "listener"}
    assert office.file.read_text() == FILE and not office.applied
    assert not (tmp_path / "data" / "secrets").exists()


def test_a_value_of_none_is_the_default(tmp_path: Path) -> None:
    """The key leaves the file; nothing to do is nothing written."""
    office = Office(tmp_path)
    saved = asyncio.run(office.desk.save_values({"smtp.port": None, "queue.batch": None}, {}, "x"))
    assert [(change.key, change.old, change.new) for change in saved.changes] == [("smtp.port", "587", "")]
    assert "port" not in office.file.read_text()
    assert not asyncio.run(office.desk.save_values({"smtp.port": None}, {}, "x")).changes
    assert office.applied == 1


def test_a_password_at_once_is_kept_in_a_file_of_its_own(tmp_path: Path) -> None:
    """The settings file names the place, and only its owner can read it."""
    office = Office(tmp_path)
    values = {"smtp.username": "anna"}
    saved = asyncio.run(office.desk.save_values(values, {"smtp.password_file": "secret"}, "x"))
    assert {change.key for change in saved.changes} == {"smtp.username", "smtp.password_file"}
    [kept] = (tmp_path / "data" / "secrets").iterdir()
    assert kept.read_text() == "secret\n" and kept.stat().st_mode & 0o777 == 0o600
    assert str(kept) in office.file.read_text() and '= "secret"' not in office.file.read_text()
