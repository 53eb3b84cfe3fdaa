"""`cmail link up` as hooks call it: root becomes the owner of the data folder before it speaks to the server, and asks
nobody else anything; the long way says the same."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.house import RunningCmail


def cmail_link(
    cmail: RunningCmail, *words: str, before: tuple[str, ...] = (), is_long: bool = False
) -> subprocess.CompletedProcess[str]:
    """What it prints."""
    line = [*before, sys.executable, "-m", "cmail", "link", *words]
    line += [f"--config={cmail.config}"] if is_long else ["--config", str(cmail.config)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.needs("root", "strace")
def test_root_becomes_the_owner_first(tmp_path: Path) -> None:
    """Traced: groups, group and user are the owner's when the one connection is opened. Who is in which group is
    not asked: that may be for a server on the network to say, which is not there yet."""
    traced = ("strace", "-f", "-e", "trace=connect,setgroups,setresgid,setresuid,openat")
    with RunningCmail(tmp_path) as cmail:
        owner = os.stat(cmail.data)
        done = cmail_link(cmail, "up", "none0", "--hook", before=traced)
        assert done.stdout == "noted of none0: no mail goes by it\n"
        said = re.findall(r"(?:setgroups|setresgid|setresuid|connect)\(.*", done.stderr)
        assert said[0].startswith(f"setgroups(1, [{owner.st_gid}])")
        assert said[1].startswith(f"setresgid({owner.st_gid}, {owner.st_gid}, {owner.st_gid})")
        assert said[2].startswith(f"setresuid({owner.st_uid}, {owner.st_uid}, {owner.st_uid})")
        assert "link.sock" in said[3] and len(said) == 4
        assert "/etc/group" not in done.stderr and "nsswitch" not in done.stderr


def test_the_long_way_says_the_same(tmp_path: Path) -> None:
    """What stands in an order that only the whole command line knows ends in the same words and codes."""
    with RunningCmail(tmp_path) as cmail:
        for words in (["down"], ["up"], ["up", "none0", "--hook"], ["probe"], ["down", "nonsense"]):
            quick = cmail_link(cmail, *words)
            slow = cmail_link(cmail, *words, is_long=True)
            assert (quick.returncode, quick.stdout, quick.stderr) == (
                slow.returncode,
                slow.stdout,
                slow.stderr,
            )
        assert quick.returncode == 64 and "no network device named 'nonsense'" in quick.stderr
    assert cmail_link(cmail, "up").returncode == cmail_link(cmail, "up", is_long=True).returncode == 69


@pytest.mark.parametrize("is_long", [False, True])
def test_a_link_that_comes_up_waits_for_no_editor(tmp_path: Path, is_long: bool) -> None:
    """The settings are broken for as long as somebody is at them, wherever: hooks and people tell the server all the
    same, which goes on with those of before, and hear what is wrong."""
    with RunningCmail(tmp_path) as cmail:
        whole = cmail.config.read_text()
        for broken in (
            f"[queue\n{whole}",
            whole.replace("workers =", "workers"),
            f'{whole}\n[smtp]\nhost = "mx',
        ):
            cmail.config.write_text(broken)
            done = cmail_link(cmail, "down", is_long=is_long)
            assert done.returncode == 0 and "not TOML" in done.stderr and "of before" in done.stderr, (
                done.stderr
            )
            assert cmail.ask("link", "link.status")["is_down"]
            done = cmail_link(cmail, "up", is_long=is_long)
            assert done.returncode == 0 and not cmail.ask("link", "link.status")["is_down"]
