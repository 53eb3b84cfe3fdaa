"""What systemd and we say to each other."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from cmail.app.ports import bind
from cmail.app.systemd import Notifier, given_sockets
from cmail.settings import Endpoint


def listener(path: str) -> socket.socket:
    """systemd's end of NOTIFY_SOCKET."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bound.bind(path)
    bound.settimeout(5)
    return bound


def test_states_reach_systemd(tmp_path: Path) -> None:
    """Each state is a line of one datagram, to a path or to an abstract name."""
    abstract = f"cmail-test-{os.getpid()}"
    for address, path in ((str(tmp_path / "n"), str(tmp_path / "n")), (f"@{abstract}", f"\0{abstract}")):
        with listener(path) as systemd:
            notifier = Notifier({"NOTIFY_SOCKET": address})
            assert notifier.is_watched
            notifier.say("READY=1", "STATUS=fine")
            assert systemd.recv(1000) == b"READY=1\nSTATUS=fine"


def test_nobody_asked_or_is_gone(tmp_path: Path) -> None:
    """Without systemd, and when it does not listen, nothing happens."""
    Notifier({}).say("READY=1")
    assert not Notifier({}).is_watched
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).say("READY=1")


WATCHDOG = {
    "ours": ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
    "for whoever": ({"WATCHDOG_USEC": "30000000"}, 15.0),
    "somebody else's": ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
    "none": ({}, 0.0),
}


def test_watchdog_comes_in_half_its_time() -> None:
    """The watchdog is fed twice as often as it asks, and only when it is ours."""
    for name, (environ, seconds) in WATCHDOG.items():
        assert Notifier(dict(environ)).watchdog_s == seconds, name


def test_variables_are_not_handed_on() -> None:
    """What systemd said to us is not for the programs that we start."""
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "LISTEN_PID": "1", "LISTEN_FDS": "1", "A": "b"}
    Notifier(environ)
    given_sockets(environ)
    assert environ == {"A": "b"}


def test_sockets_of_another_process_are_not_ours() -> None:
    """LISTEN_PID names whom they are for."""
    assert given_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == {}


def test_given_sockets_are_found_by_their_address() -> None:
    """Sockets from descriptor 3 on are known by what they are bound to."""
    code = (
        "import os, sys; from cmail.app.systemd import given_sockets; "
        "print(given_sockets({'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1'}))"
    )
    with socket.create_server(("127.0.0.1", 0)) as bound:
        held = os.dup(bound.fileno())
        command = [sys.executable, "-c", f"import os; os.dup2({held}, 3); {code}"]
        said = subprocess.run(command, pass_fds=[held], capture_output=True, text=True, check=True).stdout
        assert f"Endpoint(host='127.0.0.1', port={bound.getsockname()[1]}" in said


def test_bind_takes_what_systemd_holds() -> None:
    """A listener whose address systemd holds uses its socket; [::]:25 serves 0.0.0.0:25 as well."""
    with socket.socket() as held:
        wildcard = {Endpoint("::", 25): held}
        assert bind("smtp", "0.0.0.0:25", 2, wildcard).sockets == [held]
        assert bind("smtp", "[::]:25", 2, wildcard).sockets == [held]
        assert bind("smtp", "192.0.2.9:25", 2, {Endpoint("192.0.2.9", 25): held}).sockets == [held]
