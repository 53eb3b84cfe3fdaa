"""The hooks of packaging/hooks as ppp, ifupdown and NetworkManager call them, root on a machine of its own, with a
running server: its link goes down and up, and mail moves at once."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cut_house import FarSink, give, serve, status, tries, wait_until_down, wait_until_up
from tests.support.hooked import HookedMachine
from tests.support.house import RunningCmail, wait_for
from tests.support.netns import Net, There
from tests.support.sink_mx import SinkMx
from tests.support.trigger import Trigger

pytestmark = [pytest.mark.needs("root", "ip", "nsenter", "run-parts"), pytest.mark.limit(400)]

DISPATCHER = "/etc/NetworkManager/dispatcher.d/50-cmail"


def run_parts(machine: HookedMachine, which: str) -> None:
    """As Debian's /etc/ppp/ip-up and ip-down do: six arguments, and the environment named in them."""
    values = ("wire", "/dev/ttyS0", "38400", "10.1.0.1", "10.1.0.2", "isp")
    names = ("IFACE", "TTY", "SPEED", "LOCAL", "REMOTE", "IPPARAM")
    env = {f"PPP_{name}": value for name, value in zip(names, values, strict=True)}
    machine.run("run-parts", f"/etc/ppp/{which}.d", *(f"--arg={value}" for value in values), env=env)


def dispatch(machine: HookedMachine, device: str, action: str, **env: str) -> None:
    """As NetworkManager-dispatcher(8) has it: the device and the action; device and connection in names."""
    machine.run(DISPATCHER, device, action, env={"NM_DISPATCHER_ACTION": action, **env})


def check_down_and_up(
    cmail: RunningCmail, peer: SinkMx, net: Net, hang_up: Callable[[], object], dial: Callable[[], object]
) -> None:
    """The kernel shows nothing, as with a modem that dials on demand: the hook alone says that it has hung up."""
    hang_up()
    assert wait_until_down(cmail) == "wire was said to be down"
    give(net, cmail)
    time.sleep(1)
    assert tries(cmail) == [0] and not peer.taken
    dial()
    wait_for(lambda: len(peer.taken) == 1, "the message to arrive")
    assert not status(cmail)["is_down"]


def test_ppp(net: Net, tmp_path: Path) -> None:
    """run-parts with what pppd's scripts say: down, mail waits uncounted; up, it moves at once; the log of the
    system says both."""
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path) as cmail, HookedMachine(net, tmp_path, cmail) as machine:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        check_down_and_up(
            cmail,
            peer,
            net,
            lambda: run_parts(machine, "ip-down"),
            lambda: run_parts(machine, "ip-up"),
        )
        machine.wait_for_log("ppp: up wire: noted of wire: the link is up")
        assert "ppp: down wire: noted of wire: mail for the Internet waits" in "\n".join(machine.log)
        machine.run("run-parts", "/etc/ppp/ipv6-up.d", "--arg=wire")
        machine.wait_for_log("ppp: up wire", 2)


@pytest.mark.needs("ifup-unpacked")
def test_ifupdown(net: Net, tmp_path: Path) -> None:
    """Debian's own ifup and ifdown take the device down and bring it up with address and route: both are heard of,
    mail moves at once. Loopback is none of our business, nor is the end of `ifup --all`."""
    programs = Path(shutil.which("ifup-unpacked") or "").resolve().parent
    interfaces, state = tmp_path / "interfaces", tmp_path / "state"
    state.mkdir()
    interfaces.write_text(
        "auto lo wire\niface lo inet loopback\n"
        "iface wire inet static\n    address 10.1.0.1/24\n    gateway 10.1.0.2\n"
    )
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path) as cmail, HookedMachine(net, tmp_path, cmail) as machine:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        files = ["--force", "-i", str(interfaces), "--state-dir", str(state)]
        machine.run(str(programs / "ifdown"), *files, "wire")
        wait_until_down(cmail)
        give(net, cmail)
        time.sleep(1)
        assert tries(cmail) == [0] and not peer.taken
        machine.run(str(programs / "ifup"), *files, "--all")
        wait_for(lambda: len(peer.taken) == 1, "the message to arrive")
        machine.wait_for_log("ifupdown: up wire: noted of wire: the link is up")
        assert [line.split(": ")[1] for line in machine.log] == ["down wire", "up wire"]


def test_ifupdown_of_a_device_that_stays(net: Net, tmp_path: Path) -> None:
    """What ifup and ifdown say to their hooks, of a device of which the kernel shows no change."""
    peer = FarSink()
    with There(net, peer), serve(net, tmp_path) as cmail, HookedMachine(net, tmp_path, cmail) as machine:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        device = {"IFACE": "wire", "LOGICAL": "wire", "ADDRFAM": "inet", "METHOD": "ppp"}
        down = {**device, "MODE": "stop", "PHASE": "pre-down"}
        up = {**device, "MODE": "start", "PHASE": "post-up"}
        check_down_and_up(
            cmail,
            peer,
            net,
            lambda: machine.run("run-parts", "/etc/network/if-down.d", env=down),
            lambda: machine.run("run-parts", "/etc/network/if-up.d", env=up),
        )


def test_networkmanager(net: Net, tmp_path: Path) -> None:
    """When it finds that its page on the Internet does not answer, or answers again, CMail looks by itself, and
    does not wait an hour to look again. up and down, of devices and of a VPN; a lease that is renewed says nothing."""
    peer, far = FarSink(), "10.88.0.1"
    probed = f'[link]\nprobe = "{far}:25"\nprobe_every = "1h"\n'
    net.there("route", "add", "prohibit", f"{far}/32")
    forward = ["ip", "netns", "exec", net.there_name, "sysctl", "-qw", "net.ipv4.ip_forward=1"]
    subprocess.run(forward, check=True)
    modem = {"DEVICE_IFACE": "cdc-wdm0", "DEVICE_IP_IFACE": "wire"}
    with (
        There(net, peer),
        serve(net, tmp_path, probed) as cmail,
        HookedMachine(net, tmp_path, cmail) as machine,
    ):
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        dispatch(machine, "none", "connectivity-change", CONNECTIVITY_STATE="PORTAL")
        assert "nothing answers" in wait_until_down(cmail)
        net.there("route", "del", "prohibit", f"{far}/32")
        net.there("addr", "add", f"{far}/32", "dev", "lo")
        dispatch(machine, "none", "connectivity-change", CONNECTIVITY_STATE="FULL")
        wait_until_up(cmail)
        dispatch(machine, "wire", "dhcp4-change", DEVICE_IFACE="wire", DEVICE_IP_IFACE="wire")
        check_down_and_up(
            cmail,
            peer,
            net,
            lambda: dispatch(machine, "cdc-wdm0", "down", **modem),
            lambda: dispatch(machine, "cdc-wdm0", "up", **modem),
        )
        dispatch(machine, "wire", "vpn-up", VPN_IP_IFACE="tun0", DEVICE_IP_IFACE="wire")
        machine.wait_for_log("NetworkManager: up tun0: noted of tun0: no mail goes by it")
        assert not [line for line in machine.log if "dhcp" in line]
        assert sum("NetworkManager" in line for line in machine.log) == 5


def test_a_link_up_is_one_kick(net: Net, tmp_path: Path) -> None:
    """The kernel shows the cable first, and the hook says it a moment later: who keeps mail for us is kicked once."""
    finger = Trigger()
    with (
        There(net, FarSink(), finger),
        serve(net, tmp_path) as cmail,
        HookedMachine(net, tmp_path, cmail) as machine,
    ):
        net.cut("wire")
        wait_until_down(cmail)
        cmail.config.write_text(cmail.config.read_text().replace("[smtp]\n", "[smtp]\nkick = true\n", 1))
        cmail.stop()
        cmail.start()
        wait_until_down(cmail)
        net.join("wire")
        wait_until_up(cmail)
        run_parts(machine, "ip-up")
        machine.wait_for_log("ppp: up wire: noted of wire: the link is up")
        wait_for(lambda: finger.heard, "the kick")
        time.sleep(1)
        assert finger.heard == [b"example.org\r\n"]


def test_an_up_is_not_overtaken_by_the_down_before_it(net: Net, tmp_path: Path) -> None:
    """Down and up in the same instant, while the one before is still being said: whoever comes first at the server,
    the last word holds."""
    with serve(net, tmp_path) as cmail, HookedMachine(net, tmp_path, cmail) as machine:
        wait_for(lambda: status(cmail)["links"][0]["state"] == "up", "the line to be seen")
        both = "/etc/ppp/ip-down.d/cmail wire; /etc/ppp/ip-up.d/cmail wire;"
        machine.run("sh", "-c", both)
        machine.wait_for_log("ppp: up wire")
        machine.run("sh", "-c", f"exec 9>/run/cmail-hooks/lock; flock 9; {both} sleep 1")
        machine.wait_for_log("ppp: up wire", 2)
        assert not status(cmail)["is_down"]
        machine.run("sh", "-c", f"for n in 1 2 3 4 5 6; do {both} done; /etc/ppp/ip-down.d/cmail wire")
        machine.wait_until_said()  # what it was a moment ago, between a down and an up, is no matter
        assert wait_until_down(cmail) == "wire was said to be down"


HOSTILE = (
    "",
    "lo",
    "--all",
    "-v",
    ".",
    "..",
    "../../etc/x",
    "$(touch /run/x)",
    "; touch /run/x",
    "a\nb",
    "x" * 300,
)


def test_whatever_is_wrong_the_network_does_not_wait(net: Net, tmp_path: Path) -> None:
    """Names and an environment that somebody has thought out, a server that is not there, one that hangs, no CMail
    at all: every hook succeeds, says nothing, and is over at once."""
    cmail = RunningCmail(tmp_path)
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("env", "timeout", "mkdir", "mv", "flock", "cmail", "logger"):
        (evil / name).write_text(f"#!/bin/sh\ntouch {evil}/done\n")
        (evil / name).chmod(0o755)
    (evil / "sitecustomize.py").write_text(f"open({str(evil / 'done')!r}, 'w')")
    env = {
        "PATH": f"{evil}:/usr/bin:/bin",
        "LD_PRELOAD": "",
        "PYTHONPATH": str(evil),
        "CMAIL_CONFIG": "/nowhere",
        "IFS": "/",
        "ENV": str(evil / "cmail"),
        "MODE": "start",
    }

    def call_all(machine: HookedMachine, device: str) -> None:
        began = time.monotonic()
        outputs = [
            machine.run("/etc/ppp/ip-up.d/cmail", device, env={**env, "PPP_IFACE": device}),
            machine.run("/etc/ppp/ip-down.d/cmail", device, env=env),
            machine.run("/etc/network/if-up.d/cmail", env={**env, "IFACE": device}),
            machine.run("/etc/networkd-dispatcher/routable.d/50-cmail", env={**env, "IFACE": device}),
            machine.run(DISPATCHER, device, "up", env=env),
        ]
        took_s = time.monotonic() - began
        assert took_s < 20, "five of them, and a server that hangs is given five seconds each"
        assert not any(done.stdout + done.stderr for done in outputs)

    with HookedMachine(net, tmp_path, cmail) as machine:
        for device in HOSTILE:
            call_all(machine, device)
        machine.run("sh", "-c", "! test -e /run/x && ! test -e /etc/x")
        call_all(machine, "wire")
        machine.wait_for_log("up wire: cmail: the server is not running")
        assert not [line for line in machine.log if " wire: cmail: " not in line]
        machine.program("exec sleep 60")
        call_all(machine, "wire")
        machine.wait_for_log("the server did not answer within 5 s")
        machine.wait_until_said()
        said = len(machine.log)
        machine.run("rm", "/usr/local/sbin/cmail")
        call_all(machine, "wire")
        assert "Removed" in machine.install("--remove")
        machine.run("sh", "-c", "! test -e /etc/ppp/ip-up.d/cmail && ! test -e /usr/local/lib/cmail")
        assert len(machine.log) <= said + 2 and not (evil / "done").exists()
