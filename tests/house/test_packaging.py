"""The unit files agree with each other and with what the server promises."""

import re
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from cmail.smtpd.settings import ListenerKind

PACKAGING = Path(__file__).parents[2] / "packaging"
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
