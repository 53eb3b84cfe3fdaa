"""The unit files agree with each other and with what the server promises."""

import os
import re
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from cmail.smtpd.settings import ListenerKind

PACKAGING = Path(__file__).parents[2] / "packaging"
HOOKS = sorted((PACKAGING / "hooks").iterdir())
INSTALLER = PACKAGING.parent / "scripts/install-hooks"
SOCKETS = sorted(PACKAGING.glob("*.socket"))
EXPOSURE_MAX = 1.5  # docs/install.md says so


def settings_of(unit: Path) -> dict[str, list[str]]:
    """Setting -> its values, in their order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


def test_the_service_never_is_root_and_has_one_privilege() -> None:
    """It runs as cmail, and may bind low ports and nothing else."""
    service = settings_of(PACKAGING / "cmail.service")
    assert service["User"] == ["cmail"]
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == ["CAP_NET_BIND_SERVICE"]
    assert service["Type"] == ["notify"]
    assert "78" in service["RestartPreventExitStatus"][0].split()


@pytest.mark.parametrize("unit", SOCKETS, ids=lambda unit: unit.name)
def test_a_socket_is_named_for_a_kind_of_listener(unit: Path) -> None:
    """The name by which a socket is handed over is a kind that cmail.toml knows."""
    socket = settings_of(unit)
    assert socket["FileDescriptorName"][0] in get_args(ListenerKind)
    assert unit.stem == f"cmail-{socket['FileDescriptorName'][0]}"
    assert socket["Service"] == ["cmail.service"]


@pytest.mark.needs("systemd-analyze")
def test_systemd_finds_the_sandbox_tight() -> None:
    """systemd's own figure for the unit is no worse than the one that the documentation names."""
    assert exposure(PACKAGING / "cmail.service") <= EXPOSURE_MAX
    assert f"gives it **{EXPOSURE_MAX}**" in (PACKAGING.parent / "docs/install.md").read_text()


def exposure(unit: Path) -> float:
    """What `systemd-analyze security` says of a unit: 0 is shut in entirely, 10 not at all."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])


@pytest.mark.needs("shellcheck")
def test_hooks_are_plain_shell() -> None:
    """They run as root, wherever there is a POSIX shell; shellcheck has nothing to say of them."""
    files = [str(path) for path in (*HOOKS, INSTALLER)]
    assert all(Path(path).read_text().startswith("#!/bin/sh\n") for path in files)
    done = subprocess.run(["shellcheck", "-s", "sh", *files], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout


def install(*words: str) -> subprocess.CompletedProcess[str]:
    """scripts/install-hooks."""
    return subprocess.run([str(INSTALLER), *words], capture_output=True, text=True, check=False)


def installed(root: Path) -> dict[str, str]:
    """Every file below, with what is in it."""
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_hooks_are_installed_and_removed(tmp_path: Path) -> None:
    """Each where packaging/README.md says, executable, with the program and the settings of the service; twice is
    as once; what is not ours stays; removed, nothing of ours is left."""
    unit = tmp_path / "etc/systemd/system/cmail.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/srv/it's/cmail serve --config /etc/mail.toml\n")
    assert "quotation mark" in install(str(tmp_path)).stderr
    unit.write_text("[Service]\nExecStart=/srv/a$b/cmail serve --config /etc/mail.toml\n")
    assert not install(str(tmp_path)).returncode
    found = installed(tmp_path)
    hook = found["usr/local/lib/cmail/link-hook"]
    assert "\ncmail='/srv/a$b/cmail'\nconfig='/etc/mail.toml'\n" in hook
    assert not install(str(tmp_path)).returncode and installed(tmp_path) == found
    manual = (PACKAGING / "README.md").read_text()
    for place in found.keys() - {"etc/systemd/system/cmail.service"}:
        assert os.access(tmp_path / place, os.X_OK)
        assert f"/{place}`" in manual, place
    assert not install("--config", "/x.toml", str(tmp_path)).returncode
    assert "\nconfig='/x.toml'\n" in installed(tmp_path)["usr/local/lib/cmail/link-hook"]
    foreign = tmp_path / "etc/network/if-up.d/cmail"
    foreign.write_text("#!/bin/sh\necho mine\n")
    assert not install("--remove", str(tmp_path)).returncode
    assert installed(tmp_path).keys() == {"etc/systemd/system/cmail.service", "etc/network/if-up.d/cmail"}
    done = install(str(tmp_path))
    assert done.returncode and "if-up.d/cmail is there and not ours" in done.stderr
    assert "usr/local/lib/cmail/link-hook" not in installed(tmp_path)


@pytest.mark.needs("root")
def test_root_does_not_install_what_others_can_change(tmp_path: Path) -> None:
    """Whoever may write to the program would be root when the network comes up the next time: nothing is installed."""
    program, config = tmp_path / "cmail", tmp_path / "cmail.toml"
    program.write_text("#!/bin/sh\n")
    config.write_text("")
    program.chmod(0o777)
    done = install("--program", str(program), "--config", str(config))
    assert done.returncode and "can be written by others, and root would run it" in done.stderr
    program.chmod(0o755)
    os.chown(program, 65534, 65534)
    assert "does not belong to root" in install("--program", str(program), "--config", str(config)).stderr
