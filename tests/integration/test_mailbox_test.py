"""[Test] of a mailbox elsewhere against servers on loopback: what is said, and that nothing there is touched."""

import asyncio
from ipaddress import ip_address
from typing import Any, Final

import pytest

from cmail.admin import mailbox_test
from cmail.admin.mailbox_test import Tried
from cmail.link.collect.box import Access
from cmail.link.collect.log_ins import refused
from cmail.link.collect.pop3 import Pop3Box
from cmail.protocol.pop3_client import Capabilities, LogInError, log_in
from cmail.protocol.sasl_client import Credentials
from tests.support.fake_dns import FakeResolver
from tests.support.ports import free_port
from tests.support.scripted_imap import ScriptedImap
from tests.support.scripted_pop3 import ScriptedPop3

MAIL: Final = b"Subject: hello\r\n\r\nHello.\r\n"


def tried(server: Any, protocol: str, *, port: int = 0, password: str = "secret", tls: str = "none") -> Tried:
    """The test, while the server is there."""

    async def run() -> Tried:
        async with server:
            access = Access("127.0.0.1", port or server.port, tls, "", "anna", "INBOX", password)
            resolver = FakeResolver(hosts={"127.0.0.1": [str(ip_address("127.0.0.1"))]})
            return await mailbox_test.test_mailbox(protocol, access, resolver)

    return asyncio.run(run())


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_mailbox_that_works(count: int) -> None:
    """The log-in is taken, messages are counted; none is fetched, marked or deleted."""
    pop3 = ScriptedPop3([(f"uid{n}", MAIL) for n in range(count)])
    imap = ScriptedImap({n + 1: MAIL for n in range(count)})
    words = {0: "no message waits", 1: "one message waits", 3: "3 messages wait"}[count]
    for server, protocol in ((pop3, "pop3"), (imap, "imap")):
        found = tried(server, protocol)
        assert found.is_ok and words in found.words and "Nothing was fetched" in found.words
    assert len(pop3.messages) == len(imap.messages) == count
    said = " ".join([*pop3.heard, *imap.heard])
    assert not any(word in said for word in ("RETR", "DELE ", "STORE", "EXPUNGE", "BODY"))


def test_what_is_wrong_and_what_to_do() -> None:
    """The password, the host, no password at all: in words, with advice where there is any."""
    refusing = ScriptedPop3(answers={"PASS": b"-ERR [AUTH] wrong password\r\n"})
    found = tried(refusing, "pop3")
    assert not found.is_ok and "does not take the user name or the password" in found.words
    assert "Some providers want a password of its own" in found.advice
    found = tried(ScriptedPop3(), "pop3", port=free_port())
    assert not found.is_ok and "cannot be reached" in found.words and "its port" in found.advice
    assert "no password yet" in tried(ScriptedPop3(), "pop3", password="").words
    found = tried(ScriptedPop3(answers={"greeting": b"-ERR closed today\r\n"}), "pop3")
    assert not found.is_ok and "closed today" in found.words


def test_who_would_hear_the_password_is_not_told_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere, without encryption: that is said, and not that the password may be wrong."""

    async def opened(access: Access, _: Any) -> Any:
        try:
            list(log_in(Credentials("anna", "secret"), Capabilities(), is_safe=False))
        except LogInError as error:
            raise refused(access, error) from None

    monkeypatch.setattr(Pop3Box, "open", opened)
    found = tried(ScriptedPop3(), "pop3")
    assert "the connection is not encrypted" in found.words and found.advice.startswith("Choose TLS")


def test_a_server_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody looks at the page meanwhile."""
    monkeypatch.setattr(mailbox_test, "TEST_S", 0.2)
    found = tried(ScriptedPop3(hang_at="LIST"), "pop3")
    assert not found.is_ok and "was ended" in found.words
