"""What root starts can save its settings: in a folder that was made for it, also where its user cannot go by the path."""

import json
import pwd
import urllib.request
from pathlib import Path

import pytest

from cmail.app.starter import hand_over
from tests.support.house import SETTINGS, RunningCmail
from tests.support.office import command

USER = "nobody"


@pytest.mark.needs("root")
def test_a_folder_that_only_root_can_enter(tmp_path: Path) -> None:
    """As `make run` in a checkout under /root: the file is saved, stays readable for all (sendmail of everybody reads it),
    and comments stay."""
    house = RunningCmail(tmp_path)
    closed = tmp_path / "root"
    closed.mkdir(mode=0o700)
    house.config = closed / "var" / "cmail.toml"
    house.config.parent.mkdir(mode=0o755)
    text = SETTINGS.replace('data_dir = "data"', f'data_dir = "{house.data}"  # ours')
    house.config.write_text(text.replace('address = ""', 'address = "127.0.0.1:0"'))
    house.config.chmod(0o644)
    hand_over(str(house.config.parent), str(house.config), USER)
    with house:
        token = command(house, "token", "add", "test", "--scope", "admin").strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{house.port('admin')}/api/v1/settings",
            json.dumps({"exchange": {"every": "1h"}}).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            method="PATCH",
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.loads(answer.read())["is_applied"]
        assert house.ask("link", "link.status")["exchange"]["is_planned"]
    saved = house.config.read_text()
    assert 'every = "1h"' in saved and "# ours" in saved
    status = house.config.stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o644, pwd.getpwnam(USER).pw_uid)
