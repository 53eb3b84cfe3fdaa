"""Accounts: log-ins of a process that serves: right, wrong, braked, remembered, reloaded."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cmail.mail.address import parse_address
from cmail.policy.rewriting import ToMailbox, Unknown
from cmail.protocol.sasl import Failure, start
from cmail.storage import accounts as accounts_module
from cmail.storage.account_book import AccountBook
from cmail.storage.accounts import (
    ACCOUNT_BURST,
    ADDRESS_BURST,
    WAITING_MAX,
    AccountRules,
    Accounts,
    TooBusyError,
)
from cmail.storage.passwords import is_password
from tests.support.clock import FakeClock

HERE = "192.0.2.1"
RULES = AccountRules("mx.example.org", ("example.org",))


class House:
    """Accounts with one user, on a clock that a test sets, counting what is hashed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.hashed: list[str] = []
        with self.book() as book:
            book.add_user("anna", "secret")
        monkeypatch.setattr(accounts_module, "is_password", self._is_password)
        self.accounts = Accounts(str(folder), RULES, monotonic=self.clock.monotonic)
        self.accounts.start()

    def book(self) -> AccountBook:
        return AccountBook(str(self.folder), domains=RULES.domains, hostname=RULES.hostname)

    def check(self, username: str, password: str, client: str = HERE) -> str | None:
        return asyncio.run(self.accounts.check_password(username, password, client))

    def is_braked(self, username: str, password: str, client: str = HERE) -> bool:
        try:
            self.check(username, password, client)
        except TooBusyError:
            return True
        return False

    def _is_password(self, password_hash: str, password: str) -> bool:
        self.hashed.append(password)
        return len(password) > 3 and is_password(password_hash, password)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    found = House(tmp_path, monkeypatch)
    yield found
    found.accounts.close()


CHECKS = [
    ("right", "anna@example.org", "secret", "anna@example.org"),
    ("bare, in capitals", "ANNA", "secret", "anna@example.org"),
    ("at the host", "anna@mx.example.org", "secret", "anna@example.org"),
    ("wrong", "anna", "secret!", None),
    ("case of the password", "anna", "Secret", None),
    ("nobody", "carl", "secret", None),
    ("no extension of a name", "anna+x", "secret", None),
    ("no address at all", "an na", "secret", None),
    ("half a character", "a\udc80", "secret", None),
    ("empty", "", "", None),
]


@pytest.mark.parametrize(
    ("username", "password", "account"), [r[1:] for r in CHECKS], ids=[r[0] for r in CHECKS]
)
def test_passwords(house: House, username: str, password: str, account: str | None) -> None:
    """Each spelling of the name and the right password gives the account, all else None; and one hash
    is made either way, so that time does not tell."""
    assert house.check(username, password) == account
    assert len(house.hashed) == 1


def test_the_next_log_in_costs_no_hash(house: House) -> None:
    """A client that logs in for each message is remembered, for an hour; a wrong password never is."""
    for _ in range(3):
        assert house.check("anna", "secret") == "anna@example.org"
    assert house.hashed == ["secret"]
    house.clock.advance(3601)
    assert house.check("anna", "secret") == "anna@example.org"
    assert house.hashed == ["secret"] * 2
    for _ in range(2):
        assert house.check("anna", "wrong") is None
    assert house.hashed[2:] == ["wrong"] * 2


def test_a_reload_ends_what_was_remembered(house: House) -> None:
    """Another password, and the old one is worth nothing as soon as reload() returns."""
    assert house.check("anna", "secret")
    with house.book() as book:
        book.set_password("anna", "other")
    asyncio.run(house.accounts.reload())
    assert house.check("anna", "secret") is None
    assert house.check("anna", "other") == "anna@example.org"
    with house.book() as book:
        book.delete_user("anna")
    asyncio.run(house.accounts.reload())
    assert house.check("anna", "other") is None
    assert house.accounts.users_count == 0


def test_a_reload_changes_the_directory(house: House) -> None:
    """New users, aliases and rules count after reload(), not before."""
    bob = parse_address(b"bob@example.org")
    with house.book() as book:
        book.add_user("bob", "x")
    assert house.accounts.directory.resolve(bob) == Unknown()
    asyncio.run(house.accounts.reload())
    assert house.accounts.directory.resolve(bob) == ToMailbox(bob)
    extended = parse_address(b"bob-x@example.org")
    assert house.accounts.directory.resolve(extended) == Unknown()
    asyncio.run(house.accounts.reload(replace(RULES, separator="-")))
    assert house.accounts.directory.resolve(extended) == ToMailbox(bob)


def test_one_address_may_not_guess_for_ever(house: House) -> None:
    """After its failures are used up an address is told to wait, without hashing; time heals it."""
    for number in range(ADDRESS_BURST):
        assert not house.is_braked(f"user{number}", "xxx")
    tried = len(house.hashed)
    assert house.is_braked("anna", "secret")
    assert len(house.hashed) == tried
    assert not house.is_braked("anna", "secret", "192.0.2.2")
    house.clock.advance(60)
    assert not house.is_braked("user", "xxx")


def test_many_addresses_may_not_guess_one_account(house: House) -> None:
    """A distributed guesser is braked by the account; other accounts are not touched."""
    for number in range(ACCOUNT_BURST):
        assert not house.is_braked("anna", "xxx", f"198.51.100.{number}")
    assert house.is_braked("anna", "secret", "203.0.113.1")
    assert not house.is_braked("bob", "xxx", "203.0.113.1")


def test_the_right_password_from_a_known_place_always_works(house: House) -> None:
    """Rule 19: whatever others guess, who has been here before gets in at once, in any form of the name."""
    assert house.check("anna", "secret", HERE)
    asyncio.run(house.accounts.reload())  # nothing is remembered: it must be hashed
    for number in range(ACCOUNT_BURST + 5):
        house.is_braked("anna", "xxx", f"198.51.100.{number}")
    for number in range(ADDRESS_BURST + 5):
        house.is_braked(f"user{number}", "xxx", HERE)
    assert house.is_braked("anna", "secret", "203.0.113.9")
    assert house.check("Anna@example.org", "secret", HERE) == "anna@example.org"


def test_one_ipv6_client_is_one_place(house: House) -> None:
    """A /64 is one client's: other addresses in it don't give new guesses."""
    for number in range(ADDRESS_BURST):
        house.is_braked(f"user{number}", "xxx", f"2001:db8::{number:x}")
    assert house.is_braked("bob", "xxx", "2001:db8::ffff")
    assert not house.is_braked("bob", "xxx", "2001:db8:0:1::1")


def test_scram_is_braked_by_the_same(house: House) -> None:
    """Failures of SCRAM and of passwords count together; a braked log-in is 'not now', not 'wrong'."""
    for number in range(ADDRESS_BURST):
        house.accounts.scram_ended(f"user{number}", HERE, is_success=False)
    machine = start("SCRAM-SHA-256", house.accounts.at(HERE))
    assert machine is not None
    step = machine.next(b"n,,n=anna,r=x")
    assert isinstance(step, Failure)
    assert step.is_temporary
    assert house.is_braked("anna", "secret")
    house.accounts.scram_ended("anna@example.org", HERE, is_success=True)
    assert house.accounts.at(HERE).scram_keys("Anna") is not None


def test_strangers_have_scram_keys_that_stay_after_a_restart(house: House) -> None:
    """Every worker makes up the same salt for a name that nobody has."""
    other = Accounts(str(house.folder), RULES)
    other.start()
    keys = [found.at(HERE).scram_keys("carl") for found in (house.accounts, other)]
    assert keys[0] == keys[1]
    assert keys[0] != house.accounts.at(HERE).scram_keys("dora")
    other.close()


def test_too_many_at_once_are_told_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool's queue is bounded: beyond it strangers get TooBusyError at once, who is known still waits
    in line, and when the pool is free again so is the way."""
    gate = threading.Event()

    def slow(_hash: str, password: str) -> bool:
        return gate.wait(30) and password == "secret"

    async def crowd(check: Callable[[str, str, str], asyncio.Task[str | None]]) -> None:
        waiting = [check(f"user{n}", "xxx", f"198.51.100.{n}") for n in range(WAITING_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(TooBusyError, match="at once"):
            await check("user", "xxx", "203.0.113.1")
        known = check("anna", "secret", HERE)
        await asyncio.sleep(0)
        gate.set()
        assert await known == "anna@example.org"
        assert await asyncio.gather(*waiting) == [None] * WAITING_MAX
        assert await check("user", "xxx", "203.0.113.1") is None

    assert house.check("anna", "secret", HERE)
    asyncio.run(house.accounts.reload())
    monkeypatch.setattr(accounts_module, "is_password", slow)

    async def run() -> None:
        check = house.accounts.check_password
        await crowd(lambda *told: asyncio.ensure_future(check(*told)))

    asyncio.run(run())
