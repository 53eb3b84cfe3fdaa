"""Rights: root is gone before the network is read, nothing more is allowed than needed, secrets stay secret."""

import base64
import os
import pwd
import re
import signal
import smtplib
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.house import SETTINGS, RunningCmail, reachable, wait_for
from tests.support.ledger import message
from tests.support.peers import Peers
from tests.support.sink_mx import SinkMx

ROOT = Path(__file__).parents[2]
ANNA, PASSWORD, UPSTREAM, WRONG = "anna@example.org", "Anna-Sesame-2", "Upstream-Sesame-1", "Wrong-Sesame-3"
SECRETS = (PASSWORD, UPSTREAM, WRONG)
RELAY = '[smtp]\nhost = "127.0.0.1"\nport = {port}\nusername = "office"\npassword_file = "{path}"\n'


class TracedCmail(RunningCmail):
    """Runs under strace, from its first system call."""

    def launch(self) -> None:
        """As RunningCmail does; strace stands beside it (-D), so that signals go where they should."""
        calls = "%network,read,readv,setresuid,setresgid,setgroups,capset,prctl"
        strace = ["strace", "-D", "-f", "-yy", "-o", str(self.folder / "trace"), "-e", f"trace={calls}"]
        with open(self.log_file, "ab") as log, open(self.screen_file, "wb") as screen:
            self.process = subprocess.Popen(
                [*strace, sys.executable, "-m", "cmail", "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=log,
                start_new_session=True,
                extra_groups=[0, 4],
            )


def low_port() -> int:
    """A port that only root may bind, and nobody has."""
    for port in range(1023, 600, -1):
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port below 1024 is free")


def send(cmail: RunningCmail, to: str = ANNA) -> None:
    with smtplib.SMTP("127.0.0.1", cmail.port("smtp"), timeout=60) as client:
        client.sendmail("a@example.com", [to], message("hello"))


def pids(cmail: RunningCmail) -> list[int]:
    """Of all processes."""
    status = cmail.status()
    return [status["pid"], *(child["pid"] for child in status["children"])]


@pytest.mark.needs("root", "strace")
@pytest.mark.limit(400)
def test_root_is_gone_before_a_byte_is_read(tmp_path: Path) -> None:
    """The kernel's own word: bind to a port below 1024, then groups, group and user are dropped, and only
    then somebody accepts a connection or reads an octet from a socket of the network, in any process."""
    port = low_port()
    settings = SETTINGS.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
    cmail = TracedCmail(tmp_path, settings=settings)
    with cmail:
        send(cmail)
        cmail.wait_for_mail(ANNA)
    lines = (cmail.folder / "trace").read_text(errors="replace").splitlines()

    def first(pattern: str) -> int:
        found = [number for number, line in enumerate(lines) if re.search(pattern, line)]
        assert found, f"no {pattern} in the trace"
        return found[0]

    uid, gid = pwd.getpwnam("nobody")[2:4]
    bound = first(rf"bind\(.*htons\({port}\)")
    groups, group = first(r"setgroups\("), first(rf"setresgid\({gid}, {gid}, {gid}\) += 0")
    user = first(rf"setresuid\({uid}, {uid}, {uid}\) += 0")
    no_more = first(r"prctl\(PR_SET_NO_NEW_PRIVS, 1")
    taken = first(r"accept4?\(\d+<TCP")
    read = first(r"(read|readv|recvfrom|recvmsg)\(\d+<(TCP|UDP)")
    assert bound < groups < group < user < no_more < min(taken, read)
    assert sum("setresuid(" in line for line in lines) == 1, "once, for all: nobody changes back"


@pytest.mark.needs("root")
def test_nothing_is_left_of_root(tmp_path: Path) -> None:
    """No process has a capability, a group of root's, a way to win rights, or leave to write a core."""
    with RunningCmail(tmp_path) as cmail:
        for pid in pids(cmail):
            text = Path(f"/proc/{pid}/status").read_text()
            facts = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                assert int(facts[name], 16) == 0, name
            assert (facts["NoNewPrivs"], facts["Umask"]) == ("1", "0077")
            assert "0" not in facts["Groups"].split()
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)


def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    """A worker that crashes is replaced, and what it had in its memory lies nowhere."""
    with RunningCmail(tmp_path) as cmail:
        before = cmail.pid("worker-0")
        os.kill(before, signal.SIGSEGV)
        wait_for(lambda: cmail.pid("worker-0") not in (0, before), "another worker")
        cmail.wait_for_log("SIGSEGV")
        found = [path for path in cmail.folder.rglob("*") if path.name.startswith("core")]
        assert (
            not found and not (Path.cwd() / "core").exists() and not (Path.cwd() / f"core.{before}").exists()
        )


@pytest.mark.needs("root")
def test_wrong_rights_are_mended(tmp_path: Path) -> None:
    """Folders and files that were opened to others (a copy, a careless chmod) are closed at the start."""
    cmail = RunningCmail(tmp_path)
    with cmail:
        send(cmail)
    wrong = {".": 0o777, "drop": 0o755, "spool": 0o755, "mail": 0o777, "run": 0o755, "secrets": 0o777}
    for name, mode in wrong.items():
        (cmail.data / name).chmod(mode)
    files = [path for path in cmail.data.iterdir() if path.is_file()]
    assert cmail.data / "accounts.sqlite3" in files
    for path in files:
        path.chmod(0o644)
    with cmail:
        modes = {name: stat.S_IMODE((cmail.data / name).stat().st_mode) for name in (*wrong, "tls")}
        assert (modes.pop("."), modes.pop("drop")) == (0o711, 0o1733)
        assert set(modes.values()) == {0o700}
        for path in files:
            assert not path.exists() or path.stat().st_mode & 0o077 == 0, path
        send(cmail)


@pytest.mark.needs("root")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """It may be another program's: exit 77, and whose it is."""
    cmail = RunningCmail(tmp_path)
    with cmail:
        pass
    os.chown(cmail.data / "spool", 12345, 12345)
    code, words = cmail.run_to_end()
    assert code == 77 and "spool belongs to user 12345" in words and "chown" in words


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = reachable(tmp_path) / "upstream-password"
    path.write_text(f"{UPSTREAM}\n")
    path.chmod(0o600)
    return path


def test_a_password_file_for_everybody_is_refused(tmp_path: Path, secret: Path) -> None:
    """At the start: exit 78, with what to do. At a reload: in words, and the settings of before go on."""
    with Peers() as peers:
        sink = upstream(peers)
        cmail = RunningCmail(tmp_path, more=RELAY.format(port=sink.port, path=secret))
        secret.chmod(0o644)
        code, words = _refused(cmail)
        assert code == 78 and f"{secret} can be read by everybody: chmod 600 it" in words
        secret.chmod(0o600)
        with cmail:
            secret.chmod(0o604)
            cmail.hang_up()
            cmail.wait_for_log("settings not applied")
            cmail.wait_for_log("settings 1 go on")
            assert f"{secret} can be read by everybody" in cmail.log()
            send(cmail, "b@example.net")
            wait_for(lambda: sink.taken, "mail at the upstream server")
            secret.chmod(0o600)
            cmail.hang_up()
            cmail.wait_for_log("settings 2 applied")


def upstream(peers: Peers) -> SinkMx:
    """A server that wants a log-in."""
    return peers.start(SinkMx(users={"office": UPSTREAM}, extensions=("PIPELINING", "AUTH PLAIN LOGIN")))


def _refused(cmail: RunningCmail) -> tuple[int, str]:
    cmail._make_accounts()
    return cmail.run_to_end()


@pytest.mark.needs("openssl")
def test_a_key_for_everybody_is_refused(tmp_path: Path) -> None:
    """The same for the key of the certificate."""
    folder = reachable(tmp_path)
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mail.example.org"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    certificate.chmod(0o644)
    key.chmod(0o644)
    cmail = RunningCmail(tmp_path, more=f'[tls]\ncertificate_file = "{certificate}"\nkey_file = "{key}"\n')
    code, words = cmail.run_to_end()
    assert code == 78 and f"{key} can be read by everybody: chmod 600 it" in words


def encoded(secrets: Sequence[str]) -> Iterator[bytes]:
    """Each secret as it stands, and as log-ins send it."""
    for word in secrets:
        yield word.encode()
        for octets in (word.encode(), *(f"\0{user}\0{word}".encode() for user in (ANNA, "office"))):
            yield base64.b64encode(octets).rstrip(b"=")[:-1]


def say(port: int, *lines: bytes) -> None:
    """Lines that a client says, each after the answer to the one before."""
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        client.recv(1000)
        for line in lines:
            client.sendall(line + b"\r\n")
            client.recv(1000)


def plain(password: str) -> bytes:
    return base64.b64encode(f"\0{ANNA}\0{password}".encode())


@pytest.mark.parametrize("is_by_file", [True, False], ids=["password_file", "environment"])
@pytest.mark.parametrize("form", ["postfix", "json"])
def test_no_secret_gets_out(tmp_path: Path, secret: Path, form: str, is_by_file: bool) -> None:
    """Right and wrong passwords, said at the right and at the wrong moment, by us and to us, with asyncio's
    debugging on: none of them stands in log, screen, arguments, environment, answers or data folder."""
    environ = {"PYTHONASYNCIODEBUG": "1"}
    if not is_by_file:
        environ["CMAIL_SMTP_PASSWORD"] = UPSTREAM
    with Peers() as peers:
        sink = upstream(peers)
        sink.users = {"office": "another"}
        more = RELAY.format(port=sink.port, path=secret if is_by_file else "") + f'[log]\nformat = "{form}"\n'
        with RunningCmail(tmp_path, more=more, users=((ANNA, PASSWORD),), environ=environ) as cmail:
            submission = cmail.port("submission")
            with smtplib.SMTP("127.0.0.1", submission, timeout=60) as client:
                with pytest.raises(smtplib.SMTPAuthenticationError):
                    client.login(ANNA, WRONG)
                client.login(ANNA, PASSWORD)
                client.sendmail(ANNA, ["b@example.net"], message("hello"))
            good, bad = plain(PASSWORD), plain(WRONG)
            say(submission, b"EHLO a", good, b"AUTH PLAIN", b"AUTH FOO " + good, b"AUTH PLAIN " + bad + b" x")
            say(submission, b"AUTH PLAIN " + good, b"EHLO a", b"AUTH LOGIN " + bad, bad, PASSWORD.encode())
            say(cmail.port("smtp"), b"EHLO a", b"AUTH PLAIN " + good, b"MAIL FROM:<> AUTH=" + good)
            wait_for(lambda: any(row["attempts"] for row in cmail.queue()), "a log-in that is refused")
            sink.users = {"office": UPSTREAM}
            for name in ("worker-0", "worker-1"):
                cmail.ask(name, "queue.flush", filter={})
            wait_for(lambda: sink.taken, "mail at the upstream server")
            os.kill(cmail.pid("worker-0"), signal.SIGABRT)
            cmail.wait_for_log("SIGABRT")
            wait_for(cmail._is_ready, "another worker")
            heard = {"log": cmail.log().encode(), "screen": cmail.screen().encode()}
            for pid in pids(cmail):
                for name in ("cmdline", "environ"):
                    heard[f"{pid} {name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
            for name, question in (("supervisor", "status"), ("worker-0", "status"), ("worker-1", "metrics")):
                heard[f"{name} {question}"] = repr(cmail.ask(name, question)).encode()
            heard["queue"] = repr(cmail.queue()).encode()
        heard |= {str(path): path.read_bytes() for path in cmail.data.rglob("*") if path.is_file()}
    found = [(place, word) for place, octets in heard.items() for word in encoded(SECRETS) if word in octets]
    assert found == []


@pytest.mark.needs("systemd-analyze")
def test_the_page_names_each_exposure_that_is_left() -> None:
    """docs/security.md has systemd's figure for the unit, and a row with a reason for each part of it."""
    unit = str(ROOT / "packaging/cmail.service")
    arguments = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    told = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    page = (ROOT / "docs/security.md").read_text()
    left = dict(re.findall(r"^✗ (\S+) .* (\d\.\d)\s*$", told, re.MULTILINE))
    rows = dict(re.findall(r"^\| `([^`]+)` \| (\d\.\d) \| \S", page.replace(r"\|", "|"), re.MULTILINE))
    assert rows == left
    figure = re.search(r"exposure level for \S+: ([\d.]+)", told)
    assert figure and f"**{figure[1]}**" in page
