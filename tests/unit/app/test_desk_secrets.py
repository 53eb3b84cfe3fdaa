"""FileDesk and passwords of rows: a file each, named by its row, gone with it; files and programs that only the settings
file may name."""

import asyncio
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from cmail.app.desk import FileDesk
from cmail.web.desk import DraftError

FILE: Final = """\
[host]
hostname = "mail.example.org"
domains = ["example.org"]
data_dir = "data"

[[link.kick]]
method = "command"
command = ["/usr/local/bin/ask"]

[[link.kick]]
method = "etrn"
host = "mx.isp.example"
username = "ours"
password_file = "/etc/cmail/kick-password"
"""
ANNA: Final[dict[str, Any]] = {
    "name": "anna",
    "protocol": "imap",
    "host": "imap.isp.example",
    "username": "anna",
    "to": "anna@example.org",
}
CARL: Final = {**ANNA, "name": "carl", "username": "carl"}
BOTH: Final = {"collect[1].password_file": "first", "collect[2].password_file": "second"}


class House:
    """A settings file and its desk."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "cmail.toml"
        self.file.write_text(FILE)
        self.secrets = folder / "data" / "secrets"
        self.desk = self.opened()

    def opened(self) -> FileDesk:
        return FileDesk(str(self.file), str(self.secrets.parent), lambda: asyncio.sleep(0))

    def rows(self, key: str = "collect") -> list[dict[str, Any]]:
        return list(self.desk.settings()[key].value)

    def save(self) -> list[dict[str, Any]]:
        asyncio.run(self.desk.save("anna", {}))
        return list(tomllib.loads(self.file.read_text()).get("collect", []))

    def kept(self) -> set[str]:
        """The passwords that are there."""
        return {path.read_text().strip() for path in self.secrets.glob("*")}

    def brought_back(self, number: int) -> list[str]:
        return list(asyncio.run(self.desk.bring_back(number, "anna")))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_password_is_a_file_of_its_own_that_goes_with_its_row(house: House) -> None:
    """Typed: the draft names it, and a desk that is opened anew still does. Another one takes its place with Save
    Settings, and a row that goes takes it along; a discarded draft leaves nothing."""
    house.desk.change({"collect": [ANNA, CARL]}, "anna", BOTH)
    paths = [Path(row["password_file"]) for row in house.rows()]
    assert [path.read_text() for path in paths] == ["first\n", "second\n"]
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    house.desk = house.opened()
    assert [row["password_file"] for row in house.save()] == [str(path) for path in paths]

    house.desk.change({"collect": house.rows()}, "anna", {"collect[1].password_file": "third"})
    assert house.kept() == {"first", "second", "third"}, "the running server has the first still"
    assert len(house.save()) == 2 and house.kept() == {"second", "third"}
    house.desk.change({"collect": house.rows()[1:]}, "anna")
    assert house.kept() == {"second", "third"}
    house.desk.discard()
    assert house.kept() == {"second", "third"}
    house.desk.change({"collect": house.rows()[1:]}, "anna")
    assert [row["name"] for row in house.save()] == ["carl"] and house.kept() == {"second"}
    house.desk.change({"collect": [*house.rows(), ANNA]}, "anna", {"collect[2].password_file": "fourth"})
    house.desk.discard()
    assert house.kept() == {"second"}


def test_a_password_of_a_site_comes_back_with_its_user(house: House) -> None:
    """Two sites are told apart by their accounts: a version of before takes today's password of the same one."""
    ship, farm = (
        {"name": name, "domains": [f"{name}.example"], "user": f"{name}@example.org"}
        for name in ("ship", "farm")
    )
    house.desk.change(
        {"site": [ship, farm]}, "anna", {"site[1].password_file": "first", "site[2].password_file": "second"}
    )
    house.save()
    house.desk.change({"site": house.rows("site")}, "anna", {"site[1].password_file": "third"})
    house.save()
    assert house.kept() == {"second", "third"}
    house.brought_back(2)
    passwords = [Path(row["password_file"]).read_text() for row in house.rows("site")]
    assert passwords == ["third\n", "second\n"]


def test_the_files_of_others_stay(house: House) -> None:
    """Of the SMTP host, of the page, and what somebody else has put there."""
    house.desk.keep_secret("smtp.password_file", "smtp", "anna")
    (house.secrets / "page.json").write_text("page")
    house.desk.change({"collect": [ANNA]}, "anna", {"collect[1].password_file": "first"})
    house.desk.discard()
    assert house.kept() == {"smtp", "page"}


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("collect[1].password_file", "a\nb", "control characters"),
        ("collect[1].password_file", "x" * 5000, "at most 4000 octets"),
        ("collect[1].password_file", "\ud800", "at most 4000 octets"),
        ("collect[2].password_file", "secret", "no such row"),
        ("listener[1].password_file", "secret", "no password for that"),
        ("tls.key_file", "secret", "no password for that"),
    ],
)
def test_what_cannot_be_a_password_is_refused(house: House, key: str, text: str, words: str) -> None:
    """Nothing is drafted and nothing is written then."""
    with pytest.raises(DraftError, match=words):
        house.desk.change({"collect": [ANNA]}, "anna", {key: text})
    assert house.rows() == [] and not house.secrets.exists()


def test_a_row_that_is_wrong_keeps_no_password(house: House) -> None:
    """The password is written when the row is taken, not before."""
    with pytest.raises(DraftError, match="is not a host"):
        house.desk.change(
            {"collect": [{**ANNA, "host": "a b"}]}, "anna", {"collect[1].password_file": "secret"}
        )
    assert not house.secrets.exists()


@pytest.mark.parametrize(
    "row",
    [
        {"method": "command", "command": ["/bin/sh"]},
        {"method": "command", "command": ["/usr/local/bin/ask"], "repeat": 5},
        {"method": "etrn", "host": "mx.isp.example", "username": "ours", "password_file": "/etc/shadow"},
    ],
)
def test_programs_and_files_are_named_in_the_file_only(house: House, row: dict[str, Any]) -> None:
    """Whole rows with a program, names of files; by a draft and by saving at once."""
    rows = [*house.rows("link.kick"), row]
    with pytest.raises(DraftError, match="in the file only"):
        house.desk.change({"link.kick": rows}, "anna")
    with pytest.raises(DraftError, match="in the file only"):
        asyncio.run(house.desk.save_values({"link.kick": rows}, {}, "anna"))


def test_what_the_file_names_stays_where_other_rows_change(house: House) -> None:
    """They move, one more comes, another value in the row with a file of its own: all as it was."""
    command, etrn = house.rows("link.kick")
    rows = [{**etrn, "host": "mx2.isp.example"}, {"method": "connect", "host": "a.example"}, command]
    house.desk.change({"link.kick": rows}, "anna")
    house.save()
    assert tomllib.loads(house.file.read_text())["link"]["kick"] == rows


def test_a_version_of_before_with_a_password_that_has_changed(house: House) -> None:
    """The one of today holds, and that is said; where the row is gone with its password, nothing is brought back,
    in words."""
    house.desk.change({"collect": [ANNA]}, "anna", {"collect[1].password_file": "first"})
    house.save()
    house.desk.change(
        {"collect": [{**house.rows()[0], "keep": True}]}, "anna", {"collect[1].password_file": "new"}
    )
    house.save()
    version = house.desk.versions()[1].number
    said = house.brought_back(version)
    assert "stay as they are" in said[0]
    row = tomllib.loads(house.file.read_text())["collect"][0]
    assert "keep" not in row and Path(row["password_file"]).read_text() == "new\n" and house.kept() == {"new"}
    house.desk.change({"collect": []}, "anna")
    house.save()
    before = house.file.read_text()
    with pytest.raises(DraftError, match=r"collect\[1\].password_file: was removed with its row"):
        house.brought_back(version)
    assert house.file.read_text() == before
