"""SMTP in: other people's mail programs talk to the running server, and what they sent is in the mailbox."""

import smtplib
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Final

import pytest

from tests.support.house import SETTINGS, RunningCmail, reachable, wait_for
from tests.support.sink_mx import SinkMx
from tests.support.threads import in_thread

USERS: Final = [(f"{name}@example.org", "sécret") for name in ("anna", "bert", "carl")] + [
    ("dora@example.org", "secret")
]
SASL: Final = ["--auth-user", "anna@example.org", "--auth-password", "sécret"]
LINES: Final = "first\r\n.dot\r\n..two dots\r\nFrom here on\r\nümläut\r\n"
LISTENERS: Final = """
[[listener]]
kind = "submissions"
address = "127.0.0.1:0"

[[listener]]
kind = "lmtp"
address = "127.0.0.1:0"

[[listener]]
kind = "lmtp"
address = "unix:{folder}/lmtp"

[smtp]
host = "127.0.0.1"
port = {port}
"""


class House(RunningCmail):
    """The server with all kinds of listeners, and what the upstream server took."""

    upstream: SinkMx

    @property
    def lmtp_socket(self) -> str:
        """Where LMTP is spoken on a Unix socket."""
        return f"{self.folder.parent}/lmtp"

    def find(self, address: str, needle: bytes) -> bytes:
        """The message in a mailbox in which `needle` stands, once it is there."""

        def look() -> bytes | None:
            return next((text for text in self.mailbox(address) if needle in text), None)

        found = wait_for(look, f"{needle!r} in the mailbox of {address}:\n{self.log()[-3000:]}")
        assert isinstance(found, bytes)
        return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One server for all; each test knows its mail by the subject."""
    folder = tmp_path_factory.mktemp("house")
    with in_thread(SinkMx(extensions=("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 0", "CHUNKING"))) as sink:
        more = LISTENERS.format(folder=reachable(folder), port=sink.port)
        with House(folder, settings=SETTINGS, more=more, users=USERS) as cmail:
            cmail.upstream = sink
            yield cmail


def run(words: Sequence[str], code: int = 0, text: bytes = b"") -> str:
    """What a program says, both ways; it must end with this code."""
    done = subprocess.run(words, input=text, capture_output=True, timeout=120)
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == code, said
    return said


def swaks(port: int, *words: str, code: int = 0) -> str:
    """A session of swaks: its transcript."""
    place = ["--server", "127.0.0.1", "--port", str(port), "--timeout", "60", "--ehlo", "client.example"]
    return run(["swaks", *place, "--from", "x@example.net", *words], code)


# name -> listener, what swaks is told, how the Received field names the protocol
WAYS: Final[dict[str, tuple[str, list[str], bytes]]] = {
    "plain": ("smtp", [], b"ESMTP"),
    "HELO": ("smtp", ["--protocol", "SMTP"], b"SMTP"),
    "STARTTLS": ("smtp", ["--tls"], b"ESMTPS"),
    "pipelined": ("smtp", ["--pipeline"], b"ESMTP"),
    "pipelined TLS": ("smtp", ["--pipeline", "--tls"], b"ESMTPS"),
    "submission PLAIN": ("submission", ["--tls", "--auth", "PLAIN", *SASL], b"ESMTPSA"),
    "submission LOGIN": ("submission", ["--tls", "--auth", "LOGIN", *SASL], b"ESMTPSA"),
    "submission pipelined": ("submission", ["--pipeline", "--tls", "--auth", "LOGIN", *SASL], b"ESMTPSA"),
    "loopback without TLS": ("submission", ["--auth", "PLAIN", *SASL], b"ESMTPA"),
    "submissions": ("submissions", ["--tlsc", "--auth", "PLAIN", *SASL], b"ESMTPSA"),
    "LMTP": ("lmtp", ["--protocol", "LMTP"], b"LMTP"),
}


@pytest.mark.needs("swaks")
@pytest.mark.parametrize("way", WAYS)
def test_swaks(house: House, way: str) -> None:
    """'Listener kinds smtp, submission, submissions (implicit TLS), lmtp': each takes a message for two."""
    kind, words, protocol = WAYS[way]
    to = ["--to", "anna@example.org,bert@example.org", "--body", LINES.replace("\r\n", "\\n")]
    said = swaks(house.port(kind), *to, "--header", f"Subject: swaks {way}.", *words)
    assert "250 2.0.0" in said
    for user in ("anna@example.org", "bert@example.org"):
        found = house.find(user, f"Subject: swaks {way}.\n".encode())
        assert LINES.replace("\r\n", "\n").encode() in found
        assert found.startswith(f"Return-Path: <x@example.net>\nDelivered-To: {user}\nReceived: ".encode())
        assert b" with %s id " % protocol in found


@pytest.mark.needs("swaks")
def test_swaks_attachment(house: House, tmp_path: Path) -> None:
    """A mail with a file of 300 KB, which goes by a file of the spool, is read back as it was."""
    data = bytes(range(256)) * 1200
    (tmp_path / "data.bin").write_bytes(data)
    attach = ["--attach-type", "application/octet-stream", "--attach", f"@{tmp_path}/data.bin"]
    swaks(house.port("smtp"), "--to", "carl@example.org", "--header", "Subject: attached", *attach)
    found = message_from_bytes(house.find("carl@example.org", b"Subject: attached\n"), policy=policy.default)
    assert isinstance(found, EmailMessage)
    assert [part.get_content() for part in found.iter_attachments()][-1] == data


# name -> listener, what swaks is told, its exit code, what must stand in the transcript
REFUSALS: Final[dict[str, tuple[str, list[str], int, str]]] = {
    "unknown user": ("smtp", ["--to", "nobody@example.org"], 24, "550 5.1.1"),
    "submission without log-in": ("submission", ["--to", "anna@example.org"], 23, "530 5.7.0"),
    "wrong password": (
        "submission",
        ["--to", "anna@example.org", "--tls", "--auth", "PLAIN", "--au", "anna@example.org", "--ap", "no"],
        28,
        "535 5.7.8",
    ),
    "wrong password, LOGIN": (
        "submissions",
        ["--to", "anna@example.org", "--tlsc", "--auth", "LOGIN", "--au", "anna@example.org", "--ap", "no"],
        28,
        "535 5.7.8",
    ),
}


@pytest.mark.needs("swaks")
@pytest.mark.parametrize("name", REFUSALS)
def test_swaks_is_refused(house: House, name: str) -> None:
    """'Unknown local users are refused at RCPT'; a submission listener demands AUTH; a wrong one fails."""
    kind, words, code, reply = REFUSALS[name]
    assert reply in swaks(house.port(kind), *words, code=code)


@pytest.mark.needs("swaks", "unshare", "nsenter", "ip", "root")
def test_strangers_log_in_under_tls_only(tmp_path: Path) -> None:
    """'PLAIN and LOGIN over TLS only, loopback apart' and 'a recipient that is not ours is accepted only
    from relay.networks or after AUTH', seen from an address that is not of loopback."""
    settings = SETTINGS.replace("127.0.0.1:0", "192.0.2.1:0")
    with Elsewhere(tmp_path, settings=settings, users=USERS) as cmail:
        enter = ["nsenter", "-n", "-t", str(cmail.pid("worker-0")), "swaks", "--server", "192.0.2.1"]
        words = [
            *enter,
            "--port",
            str(cmail.port("submission")),
            "--to",
            "x@example.net",
            "--from",
            "a@b.example",
        ]
        said = run([*words, "--auth", "PLAIN", *SASL], 28)
        assert "Host did not advertise authentication" in said and "STARTTLS" in said
        run([*words, "--tls", "--auth", "PLAIN", *SASL])
        words[words.index("--port") + 1] = str(cmail.port("smtp"))
        assert "550 5.7.1" in run(words, 24)
        run([*words, "--tls", "--auth", "LOGIN", *SASL])


class Elsewhere(RunningCmail):
    """A server in a network of its own, whose only address beside loopback is 192.0.2.1."""

    def launch(self) -> None:
        """Start it there."""
        script = 'ip link set lo up && ip addr add 192.0.2.1/32 dev lo && exec "$@"'
        command = [sys.executable, "-m", "cmail", "serve", "--config", str(self.config)]
        with open(self.log_file, "ab") as log, open(self.screen_file, "wb") as screen:
            self.process = subprocess.Popen(
                ["unshare", "-n", "sh", "-c", script, "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=screen,
                stderr=log,
                start_new_session=True,
            )


def a_message(subject: str, body: str = "Grüße\n.dot\n") -> EmailMessage:
    """As a mail program makes one."""
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = "Ännchen <anna@example.org>"
    message["To"] = "bert@example.org"
    message.set_content(body, cte="8bit")
    return message


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_smtplib_submits(house: House, mechanism: str) -> None:
    """Python's smtplib: STARTTLS, log-in, two messages and a Bcc on one connection. Date and Message-ID are
    added, the Bcc field is gone."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # ours is self-signed
    with smtplib.SMTP("127.0.0.1", house.port("submission"), timeout=60) as client:
        client.starttls(context=context)
        client.ehlo()
        client.user, client.password = "dora@example.org", "secret"
        code, _ = client.auth(mechanism, client.auth_plain if mechanism == "PLAIN" else client.auth_login)
        assert code == 235
        for number in range(2):
            message = a_message(f"by {mechanism} {number}")
            message["Bcc"] = "hidden@example.org"
            to = ["bert@example.org", "carl@example.org"]
            client.sendmail("dora@example.org", to, message.as_bytes(policy=policy.SMTP), ["BODY=8BITMIME"])
    for number in range(2):
        found = message_from_bytes(
            house.find("carl@example.org", b"by %s %d\n" % (mechanism.encode(), number))
        )
        assert found["Bcc"] is None and found["Date"] and found["Message-ID"].endswith("@mail.example.org>")


def test_smtplib_smtputf8(house: House) -> None:
    """SMTPUTF8: smtplib sends from and to addresses that are not ASCII; they go on upstream as they are."""
    with smtplib.SMTP("127.0.0.1", house.port("smtp"), timeout=60) as client:
        message = a_message("utf8")
        client.send_message(
            message, "jürgen@bücher.example", ["δοκιμή@παράδειγμα.example", "carl@example.org"]
        )
    [taken] = wait_for(lambda: [t for t in house.upstream.taken if "jürgen" in t.mail], "it upstream")
    assert "SMTPUTF8" in taken.mail and taken.recipients[0].startswith("RCPT TO:<δοκιμή@")
    found = house.find("carl@example.org", b"Subject: utf8\n")
    assert found.startswith("Return-Path: <jürgen@".encode()) and b" with UTF8SMTP id " in found


@pytest.mark.parametrize("place", ["tcp", "unix"])
def test_smtplib_lmtp(house: House, place: str) -> None:
    """smtplib speaks LMTP to us, on TCP and on a Unix socket; an unknown user is refused alone."""
    port = house.port("lmtp") if place == "tcp" else 0
    # smtplib reads one reply after the content, so one recipient at a time may be accepted.
    with smtplib.LMTP("127.0.0.1" if port else house.lmtp_socket, port) as client:
        for user in ("anna@example.org", "carl@example.org"):
            text = a_message(f"lmtp {place}").as_bytes(policy=policy.SMTP)
            refused = client.sendmail("x@example.net", [user, "nobody@example.org"], text)
            assert list(refused) == ["nobody@example.org"] and refused["nobody@example.org"][0] == 550
    for user in ("anna@example.org", "carl@example.org"):
        assert b" with LMTP id " in house.find(user, f"Subject: lmtp {place}\n".encode())


# name -> scheme, listener, more words
CURLS: Final[dict[str, tuple[str, str, list[str]]]] = {
    "smtp": ("smtp", "smtp", []),
    "STARTTLS": ("smtp", "smtp", ["--ssl-reqd", "-k"]),
    "submission PLAIN": ("smtp", "submission", ["--ssl-reqd", "-k", "--login-options", "AUTH=PLAIN"]),
    "submission LOGIN": ("smtp", "submission", ["--ssl-reqd", "-k", "--login-options", "AUTH=LOGIN"]),
    "smtps": ("smtps", "submissions", ["-k", "--login-options", "AUTH=PLAIN"]),
}


@pytest.mark.needs("curl")
@pytest.mark.parametrize("name", CURLS)
def test_curl(house: House, name: str, tmp_path: Path) -> None:
    """curl uploads a mail with 8-bit and dots, in the clear, by STARTTLS and by implicit TLS, with log-in."""
    scheme, kind, words = CURLS[name]
    text = f"From: x@example.net\r\nSubject: curl {name}.\r\n\r\n{LINES}".encode()
    (tmp_path / "mail").write_bytes(text)
    login = ["--user", "anna@example.org:sécret"] if kind.startswith("submission") else []
    ends = [
        "--mail-from",
        "anna@example.org",
        "--mail-rcpt",
        "bert@example.org",
        "-T",
        str(tmp_path / "mail"),
    ]
    run(["curl", "-sS", "-v", f"{scheme}://127.0.0.1:{house.port(kind)}/client", *ends, *words, *login])
    found = house.find("bert@example.org", f"Subject: curl {name}.\n".encode())
    assert found.endswith(text.replace(b"\r\n", b"\n"))


@pytest.mark.needs("curl")
def test_curl_asks(house: House) -> None:
    """HELP, NOOP, RSET, VRFY (252) and EXPN (refused), as curl asks them."""
    url = f"smtp://127.0.0.1:{house.port('smtp')}"
    assert "214" in run(["curl", "-sS", "-v", url])
    assert "252 2." in run(["curl", "-sS", "-v", "--mail-rcpt", "anna@example.org", url])
    said = run(["curl", "-sS", "-v", "-X", "EXPN", "--mail-rcpt", "list@example.org", url], 8)
    assert "502 5." in said or "550 5." in said


def test_bdat_from_a_client(house: House) -> None:
    """'CHUNKING (BDAT)' pipelined: chunks cut within a line, raw dots at line starts, LAST with nothing."""
    body = b"From: <a@example.net>\r\nSubject: chunks\r\n\r\n.\r\n.one\r\n..two\r\n" + b"x" * 5000 + b"\r\n"
    pieces = [body[:20], body[20:33], body[33:], b""]
    say = b"EHLO c\r\nMAIL FROM:<x@example.net> BODY=8BITMIME\r\nRCPT TO:<carl@example.org>\r\n"
    for piece in pieces:
        say += b"BDAT %d%s\r\n%s" % (len(piece), b"" if piece else b" LAST", piece)
    with socket.create_connection(("127.0.0.1", house.port("smtp")), 60) as client:
        client.sendall(say + b"QUIT\r\n")
        replies = client.makefile("rb").read()
    assert replies.count(b"\r\n250 2.0.0") + replies.count(b"\r\n250 2.6.0") == 4, replies
    assert house.find("carl@example.org", b"Subject: chunks\n").endswith(body.replace(b"\r\n", b"\n"))
