"""The kick, through the running server: at link-up the SMTP host's trigger port hears our primary domain."""

import socket
import subprocess
import sys
from pathlib import Path

from tests.support.house import RunningCmail


def test_link_up_kicks_the_smtp_host(tmp_path: Path) -> None:
    """`cmail link down`, then up: one connection to the trigger port says the domain and CRLF, and what it
    answers stands in the log."""
    with socket.create_server(("127.0.0.1", 0)) as trigger:
        trigger.settimeout(20)
        port = trigger.getsockname()[1]
        more = f'\n[smtp]\nhost = "127.0.0.1"\nport = 1\nkick = true\ntrigger_port = {port}\n'
        with RunningCmail(tmp_path, more=more) as cmail:
            for state in ("down", "up"):
                command = [sys.executable, "-m", "cmail", "link", state, "--config", str(cmail.config)]
                subprocess.run(command, check=True, capture_output=True, timeout=20)
            client, _ = trigger.accept()
            with client:
                client.settimeout(20)
                assert client.recv(100) == b"example.org\r\n"
                client.sendall(b"queue started\r\n")
            cmail.wait_for_log("queue started")
