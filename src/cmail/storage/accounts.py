"""Accounts: users, aliases and log-ins for a process that serves; a snapshot, and a bounded pool of hashing.

The right password from a place that an account has logged in from before is never braked, and hardly
waits: such log-ins are remembered, by all workers, and have a thread that no stranger waits for (rule 19)."""

import asyncio
import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from cmail.mail.address import AddressSyntaxError, parse_address
from cmail.policy.places import place_of
from cmail.policy.rates import Buckets
from cmail.policy.rewriting import Directory
from cmail.protocol.sasl import ScramKeys
from cmail.protocol.saslprep import prepare
from cmail.storage.account_book import AccountBook, AccountSnapshot
from cmail.storage.known_places import KnownPlaces
from cmail.storage.passwords import Credential, is_password, nobodys_hash, nobodys_keys

REMEMBERED_MAX: Final = 1024  # log-ins that need no hashing again
REMEMBERED_S: Final = 3600.0
# Hashes that a lane may wait for, 3 s: an office that begins its day logs in at once.
WAITING_MAX: Final = 100
NICENESS: Final = 5  # mail goes before log-ins of strangers

# Failures, not log-ins, take tokens: somebody who mistypes has plenty, a guesser has few.
ADDRESS_BURST: Final = 20
ACCOUNT_BURST: Final = 30
REFILL_MINUTES: Final = 5  # until a bucket that is empty is full again


class TooBusyError(Exception):
    """No log-in now: 454 4.7.0. Too many wait, or too many failed."""


@dataclass(frozen=True, slots=True)
class AccountRules:
    """What the settings say of accounts and addresses."""

    hostname: str
    domains: tuple[str, ...]
    separator: str = "+"
    refuse_unknown_users: bool = True
    is_lmtp: bool = False
    failures_per_address: int = ADDRESS_BURST
    failures_per_account: int = ACCOUNT_BURST


class _Brakes:
    """Failures by client address and by account, and the places that an account is known from."""

    def __init__(self, rules: AccountRules, places: KnownPlaces) -> None:
        self.addresses = _failures(rules.failures_per_address)
        self.accounts = _failures(rules.failures_per_account)
        self.places = places

    def is_known(self, username: str, place: str) -> bool:
        """Whether the account has logged in from there."""
        return self.places.has(username, place)

    def check(self, username: str, place: str, now_s: float) -> None:
        """TooBusyError when too many log-ins of the place or of the account have failed."""
        if self.is_known(username, place):
            return
        if not (self.addresses.has_token(place, now_s) and self.accounts.has_token(username, now_s)):
            raise TooBusyError("too many log-ins failed, try again later")

    def failed(self, username: str, place: str, now_s: float) -> None:
        """One more that failed; also from a known place, but there it stops nobody."""
        self.addresses.take(place, now_s)
        if not self.is_known(username, place):
            self.accounts.take(username, now_s)

    def succeeded(self, username: str, place: str) -> None:
        """The place is known now."""
        self.places.add(username, place)


def _failures(count: int) -> Buckets:
    return Buckets(count, count / REFILL_MINUTES)


class _Lane:
    """Threads that hash, and how many log-ins may wait for them."""

    def __init__(self, threads: int, name: str, *, is_nice: bool) -> None:
        self._pool = ThreadPoolExecutor(threads, name, initializer=_be_nice if is_nice else None)
        self._waiting_max = WAITING_MAX * threads
        self._waiting = 0

    async def hash(self, expected: str, password: str) -> bool:
        """Whether it is the password. TooBusyError: too many wait."""
        if self._waiting >= self._waiting_max:
            raise TooBusyError("too many log-ins at once")
        self._waiting += 1
        done = self._pool.submit(is_password, expected, password)
        done.add_done_callback(self._on_hashed(asyncio.get_running_loop()))
        return await asyncio.wrap_future(done)

    def _on_hashed(self, loop: asyncio.AbstractEventLoop) -> Callable[[object], None]:
        """Counted when the thread is through with it, also when the client did not wait."""

        def count() -> None:
            self._waiting -= 1

        def hashed(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody counts any more
                loop.call_soon_threadsafe(count)

        return hashed

    def close(self) -> None:
        """What is not begun is not done."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Accounts:
    """Loads in start(), again in reload(). Until reload() returns, what was loaded before holds.

    Everything but start() belongs to one event loop."""

    def __init__(
        self,
        data_dir: str,
        rules: AccountRules,
        *,
        threads: int = 1,
        monotonic: Callable[[], float] = time.monotonic,
        places: KnownPlaces | None = None,  # what all workers share
    ) -> None:
        self._data_dir = data_dir
        self._rules = rules
        self._monotonic = monotonic
        self._strangers = _Lane(threads, "log-in", is_nice=True)
        self._known = _Lane(threads, "known log-in", is_nice=False)
        self._nobodys_hash = ""
        self._memory_key = secrets.token_bytes(32)
        self._remembered: OrderedDict[bytes, tuple[Credential, float]] = OrderedDict()
        self._places = places or KnownPlaces()
        self._brakes = _Brakes(rules, self._places)
        self._snapshot = AccountSnapshot({}, {}, b"")
        self.directory = self._new_directory()

    def start(self) -> None:
        """Load; blocks. AccountError when there is no reading it."""
        self._use(self._read())

    async def reload(self, rules: AccountRules | None = None) -> None:
        """What a command (or the settings) changed holds when this returns. AccountError: it does not,
        and what was before goes on."""
        loop = asyncio.get_running_loop()
        snapshot = await loop.run_in_executor(None, self._read)
        if rules is not None:
            self._apply(rules)
        self._use(snapshot)

    def close(self) -> None:
        """No log-in is finished after this."""
        self._strangers.close()
        self._known.close()

    @property
    def users_count(self) -> int:
        """How many accounts there are."""
        return len(self._snapshot.credentials)

    async def check_password(self, username: str, password: str, client_address: str) -> str | None:
        """The account (its address) when the password is right, else None; in the same time whether
        the name exists or not. TooBusyError: 454 4.7.0."""
        name = self.account_name(username)
        place = place_of(client_address)
        password = prepare(password) or ""  # fits no account
        credential = self._snapshot.credentials.get(name)
        memory = self._memory_of(name, password)
        if credential is not None and self._remembers(memory, credential):
            self._brakes.succeeded(name, place)
            return name
        self._brakes.check(name, place, self._monotonic())
        expected = credential.password_hash if credential is not None else self._nobodys_hash
        lane = self._known if self._brakes.is_known(name, place) else self._strangers
        is_right = await lane.hash(expected, password)
        self._brakes.check(name, place, self._monotonic())  # guesses at once learn no more
        if not is_right or credential is None:
            self._brakes.failed(name, place, self._monotonic())
            return None
        self._remember(memory, credential)
        self._brakes.succeeded(name, place)
        return name if self._snapshot.credentials.get(name) == credential else None  # changed meanwhile

    def knows(self, place: str) -> bool:
        """Whether anybody has logged in from there (policy.places.place_of)."""
        return self._places.has_anybody(place)

    def at(self, client_address: str) -> "Door":
        """The KeyStore of one session, for protocol.sasl.start()."""
        return Door(self, place_of(client_address))

    def scram_keys(self, username: str, place: str) -> ScramKeys | None:
        """See protocol.sasl.KeyStore; None when too many log-ins failed."""
        name = self.account_name(username)
        try:
            self._brakes.check(name, place, self._monotonic())
        except TooBusyError:
            return None
        credential = self._snapshot.credentials.get(name)
        return credential.keys if credential else nobodys_keys(name, self._snapshot.nobody_secret)

    def scram_ended(self, username: str, client_address: str, *, is_success: bool) -> None:
        """Tell how a SCRAM log-in ended: what its Success or Failure names. (Passwords that
        check_password() has checked are counted by it.)"""
        name, place = self.account_name(username), place_of(client_address)
        if is_success:
            self._brakes.succeeded(name, place)
        else:
            self._brakes.failed(name, place, self._monotonic())

    def account_name(self, username: str) -> str:
        """The account that a user name means: any case, a bare name gets the first domain. A name
        that cannot be an address is left as it is, and nobody has it."""
        primary = self.directory.primary_domain
        text = username if "@" in username else f"{username}@{primary}"
        try:
            address = parse_address(text.encode())
        except (AddressSyntaxError, UnicodeEncodeError):
            return username
        name = f"{address.local_part.lower()}@{address.domain}"
        if address.domain == self._rules.hostname.lower() and name not in self._snapshot.credentials:
            return f"{address.local_part.lower()}@{primary}"
        return name

    # Loading

    def _read(self) -> AccountSnapshot:
        rules = self._rules
        opened = AccountBook(self._data_dir, domains=rules.domains, hostname=rules.hostname, creates=False)
        with opened as book:
            if not self._nobodys_hash:
                self._nobodys_hash = nobodys_hash()
            return book.read()

    def _apply(self, rules: AccountRules) -> None:
        old, self._rules = self._rules, rules
        counts = (rules.failures_per_address, rules.failures_per_account)
        if counts != (old.failures_per_address, old.failures_per_account):
            self._brakes = _Brakes(rules, self._places)

    def _use(self, snapshot: AccountSnapshot) -> None:
        self._snapshot = snapshot
        self._remembered.clear()
        self.directory = self._new_directory()

    def _new_directory(self) -> Directory:
        rules = self._rules
        return Directory(
            frozenset(self._snapshot.credentials),
            self._snapshot.aliases,
            separator=rules.separator,
            domains=rules.domains,
            hostname=rules.hostname,
            refuse_unknown_users=rules.refuse_unknown_users,
            is_lmtp=rules.is_lmtp,
        )

    # What spares hashing

    def _memory_of(self, name: str, password: str) -> bytes:
        """What a log-in is remembered by: worth nothing to who reads our memory or guesses."""
        octets = f"{name}\0{password}".encode("utf-8", "replace")
        return hashlib.blake2b(octets, key=self._memory_key, digest_size=32).digest()

    def _remembers(self, memory: bytes, credential: Credential) -> bool:
        found = self._remembered.get(memory)
        if found is None:
            return False
        return found[0] is credential and self._monotonic() - found[1] < REMEMBERED_S

    def _remember(self, memory: bytes, credential: Credential) -> None:
        self._remembered[memory] = (credential, self._monotonic())
        self._remembered.move_to_end(memory)
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Door:
    """Where one client stands: its log-ins are braked by where it comes from."""

    accounts: Accounts
    place: str

    def scram_keys(self, username: str) -> ScramKeys | None:
        """See protocol.sasl.KeyStore."""
        return self.accounts.scram_keys(username, self.place)


def _be_nice() -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
