"""A site that logs in by CRAM-MD5, as programs for ATRN do that are not CMail: with the password of a file, for its mail
and nothing else."""

import smtplib
from pathlib import Path

import pytest

from tests.integration.test_serve_sites import SITE, hub, send
from tests.support.house import RunningCmail, reachable


def with_password(folder: Path, password: str = "digested") -> str:
    """The site, and a file with its password that only root can read."""
    file = reachable(folder) / "ship-password"
    file.write_text(password + "\n")
    file.chmod(0o600)
    return SITE + f'password_file = "{file}"\n'


def odmr(cmail: RunningCmail) -> smtplib.SMTP:
    client = smtplib.SMTP("127.0.0.1", cmail.port("odmr"), timeout=60)
    client.ehlo("ship.example")
    return client


def test_a_digest_is_good_for_atrn_and_nothing_else(tmp_path: Path) -> None:
    """It is offered there alone; the password of the account is none, and that of the file is good in no other way. Mail
    is not taken from who has logged in so."""
    with hub(tmp_path, with_password(tmp_path)) as cmail:
        send(cmail, "waits")
        for kind in ("smtp", "submission"):
            with smtplib.SMTP("127.0.0.1", cmail.port(kind), timeout=60) as client:
                client.ehlo()
                assert "CRAM-MD5" not in client.esmtp_features["auth"]
                assert client.docmd("AUTH CRAM-MD5")[0] == 504
                if kind == "submission":
                    client.user, client.password = "ship@example.org", "digested"
                    with pytest.raises(smtplib.SMTPAuthenticationError):
                        client.auth("PLAIN", client.auth_plain)
        with odmr(cmail) as client:
            assert "CRAM-MD5" in client.esmtp_features["auth"] and "atrn" in client.esmtp_features
            for user, password in (("ship@example.org", "sail"), ("anna@example.org", "digested")):
                client.user, client.password = user, password
                with pytest.raises(smtplib.SMTPAuthenticationError):
                    client.auth("CRAM-MD5", client.auth_cram_md5, initial_response_ok=False)
            client.user, client.password = "Ship", "digested"
            assert client.auth("CRAM-MD5", client.auth_cram_md5, initial_response_ok=False)[0] == 235
            assert client.docmd("MAIL FROM:<a@ship.example>")[0] == 502
            assert client.docmd("ATRN", "other.example")[0] == 450
            assert client.docmd("ATRN", "ship.example")[0] == 250
        log = cmail.log()
        assert "digested" not in log and "Traceback" not in log


def test_without_the_file_it_is_not_offered(tmp_path: Path) -> None:
    """From the reload on that takes it out of the settings."""
    with hub(tmp_path, with_password(tmp_path)) as cmail:
        cmail.config.write_text(cmail.config.read_text().replace("password_file", "# password_file"))
        cmail.hang_up()
        cmail.wait_for_log("settings 2 applied")
        with odmr(cmail) as client:
            assert "CRAM-MD5" not in client.esmtp_features["auth"]
            assert client.docmd("AUTH CRAM-MD5")[0] == 504
