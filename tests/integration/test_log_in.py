"""Log-ins at a running server: each mechanism, under TLS, changed passwords, and who guesses."""

import base64
import smtplib
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from scramp import ScramClient

from tests.support.house import SETTINGS, RunningCmail

ONE_WORKER = SETTINGS.replace("workers = 2", "workers = 1")


def connect(cmail: RunningCmail) -> smtplib.SMTP:
    """A session at the submission port, encrypted."""
    client = smtplib.SMTP("127.0.0.1", cmail.port("submission"), timeout=60)
    client.starttls()
    client.ehlo()
    return client


def plain(cmail: RunningCmail, username: str, password: str) -> int:
    """The reply code to one AUTH PLAIN."""
    response = base64.b64encode(f"\0{username}\0{password}".encode()).decode()
    with connect(cmail) as client:
        return client.docmd("AUTH", f"PLAIN {response}")[0]


def login(cmail: RunningCmail, username: str, password: str) -> int:
    """The reply code to one AUTH LOGIN."""
    with connect(cmail) as client:
        assert client.docmd("AUTH", "LOGIN")[0] == 334
        assert client.docmd(base64.b64encode(username.encode()).decode())[0] == 334
        return client.docmd(base64.b64encode(password.encode()).decode())[0]


def scram(cmail: RunningCmail, username: str, password: str) -> int:
    """The reply code to one AUTH SCRAM-SHA-256, by a client that checks the server too."""
    ours = ScramClient(["SCRAM-SHA-256"], username, password)
    with connect(cmail) as client:
        first = base64.b64encode(ours.get_client_first().encode()).decode()
        code, text = client.docmd("AUTH", f"SCRAM-SHA-256 {first}")
        if code != 334:
            return code
        ours.set_server_first(base64.b64decode(text).decode())
        code, text = client.docmd(base64.b64encode(ours.get_client_final().encode()).decode())
        if code != 334:
            return code
        ours.set_server_final(base64.b64decode(text).decode())
        return client.docmd("")[0]


MECHANISMS = {"PLAIN": plain, "LOGIN": login, "SCRAM-SHA-256": scram}


def test_every_mechanism(tmp_path: Path) -> None:
    """The right password is 235 and a wrong one 535, for a whole name and a bare one; what failed is in
    the log with the client and the name, and no password is."""
    with RunningCmail(tmp_path) as cmail:
        for number, (name, log_in) in enumerate(MECHANISMS.items(), 1):
            assert log_in(cmail, "anna@example.org", "secret") == 235, name
            assert log_in(cmail, "Anna", "secret") == 235, name
            assert log_in(cmail, "anna", "wrong-password") == 535, name
            assert log_in(cmail, "carl", "wrong-password") == 535, name
            cmail.wait_for_log(f"SASL {name} authentication failed: ", 2)
            log = cmail.wait_for_log("sasl_username=carl", number)
        assert "wrong-password" not in log
        assert "secret" not in log


def test_a_changed_password_counts_at_once(tmp_path: Path) -> None:
    """When `cmail user passwd` returns the old password is worth nothing, in every worker."""
    with RunningCmail(tmp_path) as cmail:
        for _ in range(4):
            assert plain(cmail, "anna", "secret") == 235
        command = [sys.executable, "-m", "cmail", "user", "passwd", "anna@example.org", "--password-stdin"]
        subprocess.run(
            [*command, "--config", str(cmail.config)], input=b"other\n", check=True, capture_output=True
        )
        assert [plain(cmail, "anna", "secret") for _ in range(4)] == [535] * 4
        assert plain(cmail, "anna", "other") == 235


def test_who_guesses_is_put_off_and_who_is_known_is_not(tmp_path: Path) -> None:
    """After many failures from one address strangers there get 454, by whatever mechanism; an account that
    has logged in from there before still gets in."""
    with RunningCmail(tmp_path, settings=ONE_WORKER) as cmail:
        assert plain(cmail, "anna", "secret") == 235
        with ThreadPoolExecutor(12) as crowd:
            codes = list(crowd.map(lambda n: plain(cmail, f"user{n}", "x"), range(24)))
        assert set(codes) <= {535, 454}
        assert plain(cmail, "carl", "x") == 454
        assert scram(cmail, "dora", "x") == 454
        assert "log-in put off" in cmail.wait_for_log("log-in put off")
        assert plain(cmail, "anna", "secret") == 235
        assert scram(cmail, "anna", "secret") == 235


def test_the_admin_address_answers(tmp_path: Path) -> None:
    """Figures of all workers, health and the status page, on the address of the settings; by no other
    name than ours."""
    settings = SETTINGS.replace('address = ""', 'address = "127.0.0.1:0"')
    with RunningCmail(tmp_path, settings=settings) as cmail:
        plain(cmail, "anna", "wrong")
        url = f"http://127.0.0.1:{cmail.port('admin')}"

        def get(path: str, **headers: str) -> str:
            with urllib.request.urlopen(
                urllib.request.Request(url + path, headers=headers), timeout=60
            ) as page:
                return page.read().decode()

        assert 'cmail_logins_failed_total{service="' in get("/metrics")
        assert get("/health") == "ok\n"
        assert "CMail on mail.example.org" in get("/")
        with pytest.raises(urllib.error.HTTPError, match="421"):
            get("/metrics", Host="evil.example")
