"""Pop3Box: a session with a POP3 server (RFC 1939): log-in, listing, content, deletion.

Messages are known by UIDL. A server without it, or one that gives the same to two messages, has them known
by a digest of their header and their size instead."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from cmail.link.collect.box import (
    ENOUGH,
    Access,
    Beginning,
    BoxError,
    EnoughError,
    Fault,
    GoneError,
    Listed,
    Take,
    WithheldError,
)
from cmail.link.collect.line import ANSWER_S, Line, Pace, connect
from cmail.link.collect.line_box import LineBox
from cmail.link.collect.log_ins import refused
from cmail.mail.headers import header_of, remove_fields
from cmail.mail.limits import HEADER_OCTETS_MAX
from cmail.protocol.pop3_client import (
    Capabilities,
    Challenge,
    ContentEnd,
    Kind,
    Listing,
    LogInError,
    Piece,
    Pop3Client,
    Pop3Error,
    Status,
    log_in,
    parse_capabilities,
    parse_numbers,
    parse_uids,
)
from cmail.protocol.sasl_client import Credentials
from cmail.world import Resolver

MESSAGES_MAX: Final = 200_000
PIPELINED_MAX: Final = 50  # commands on their way at once
_LINE_OCTETS: Final = 60  # of text, to say to TOP how many lines are so many octets
# What a server or a mail program notes in a message: it is the same one still.
_Found = TypeVar("_Found")
_NOTES: Final = (b"status", b"x-status", b"x-uidl", b"x-keywords")


class Pop3Box(LineBox):
    """See box.Box. Who leaves without done() has deleted nothing."""

    can_resume = False
    idle = None  # POP3 has none

    def __init__(self, line: Line, machine: Pop3Client, access: Access) -> None:
        super().__init__(line)
        self._machine, self._access = machine, access
        self._offered = Capabilities()
        self._has_deleted = False
        self._refused = 0  # deletions that the server would not do
        self._refusal = ""  # what it said last of a message or of that

    @classmethod
    async def open(cls, access: Access, resolver: Resolver) -> "Pop3Box":
        """Connected and logged in; BoxError when it does not come to that."""
        machine = Pop3Client()
        return await cls(await connect(machine, access, resolver), machine, access).begun()

    # The log-in.

    async def _begin(self) -> None:
        greeting = await self._status()
        if not greeting.is_ok:
            raise BoxError(f"{self._access.host} does not let us in: {greeting.text}")
        await self._ask_capabilities()
        if self._access.tls in ("opportunistic", "required"):
            await self._start_tls()
        await self._log_in()
        await self._ask_capabilities()  # RFC 2449 §5: they may be others now

    async def _start_tls(self) -> None:
        """RFC 2595 §4."""
        is_required = self._access.tls == "required"
        if not self._offered.has_stls and not is_required:
            return
        self._line.hold()
        status = await self._ask(b"STLS")
        if status.is_ok:
            await self._line.start_tls(self._access)
            await self._ask_capabilities()
        elif is_required:
            raise BoxError(f"TLS is required and {self._access.host} has none here: {status.text}")
        else:
            self._line.stop_holding()

    async def _ask_capabilities(self) -> None:
        status, lines = await self._ask_listing(b"CAPA")
        if status.is_ok:
            self._offered = parse_capabilities(lines)

    async def _log_in(self) -> None:
        access, line = self._access, self._line
        conversation = log_in(
            Credentials(access.username, access.password),
            self._offered,
            line.is_encrypted or line.is_loopback,
        )
        try:
            octets, kind = next(conversation)
            answer: Status | Challenge | None = None
            while True:
                is_response = isinstance(answer, Challenge)
                line.write(
                    self._machine.response(octets) if is_response else self._machine.command(octets, kind)
                )
                answer = await self._status_or_challenge()
                octets, kind = conversation.send(answer)
        except StopIteration:
            return
        except LogInError as error:
            raise refused(access, error) from None
        except Pop3Error as error:
            raise BoxError(f"no log-in at {access.host}: {error}", Fault.LOG_IN) from None

    # What is there.

    async def listing(self) -> Sequence[Listed]:
        """What is there, oldest first."""
        status, lines = await self._ask_listing(b"LIST")
        self._expect(status, "to list the messages")
        sizes = self._parsed(parse_numbers, lines)
        if len(sizes) > MESSAGES_MAX:
            sizes = dict(sorted(sizes.items())[:MESSAGES_MAX])
        uids: dict[int, str] = {}
        if self._offered.has_uidl:
            status, lines = await self._ask_listing(b"UIDL")
            uids = self._parsed(parse_uids, lines) if status.is_ok else {}
        counts = Counter(uids.values())
        nameless = [number for number in sizes if counts.get(uids.get(number, ""), 0) != 1]
        names = {number: uids[number] for number in sizes if number not in set(nameless)}
        names.update(await self._digests(nameless, sizes))
        return [
            Listed(names[number], size, number) for number, size in sorted(sizes.items()) if number in names
        ]

    async def _digests(self, numbers: Sequence[int], sizes: dict[int, int]) -> dict[int, str]:
        """Names for messages that have none of their own: header, size, and which of equal ones it is."""
        found: dict[int, str] = {}
        seen: Counter[str] = Counter()
        for number in sorted(numbers):
            with contextlib.suppress(GoneError):
                try:
                    header = await self._header(number, sizes[number])
                except WithheldError:  # listed all the same: who tries to fetch it says why it cannot be
                    found[number] = f"unread:{number}:{sizes[number]}"
                    continue
                for name in _NOTES:
                    header = remove_fields(header, name)
                digest = f"header:{hashlib.sha256(header).hexdigest()[:40]}:{sizes[number]}"
                found[number] = f"{digest}:{seen[digest]}"
                seen[digest] += 1
        return found

    async def _header(self, number: int, size: int) -> bytes:
        if self._offered.has_top:
            octets = await self._content(b"TOP %d 0" % number, HEADER_OCTETS_MAX, size)
            if octets is not None:
                return header_of(octets)
        octets = await self._content(b"RETR %d" % number, HEADER_OCTETS_MAX, size)
        if octets is None:
            raise GoneError("")
        return header_of(octets)

    async def _content(self, command: bytes, octets_max: int, size: int) -> bytes | None:
        """The first octets of what a command gives of a message of that size; None: it was refused."""
        kept: list[bytes] = []
        room, left = octets_max, 2 * size + HEADER_OCTETS_MAX  # servers are not exact

        async def take(piece: bytes) -> None:
            nonlocal room, left
            left -= len(piece)
            if left < 0:
                raise BoxError(f"{self._access.host} says that a message has {size} octets, and sends more")
            if room > 0:
                kept.append(piece[:room])
                room -= len(piece)

        return b"".join(kept) if await self._retrieve(command, take) else None

    # One message.

    async def fetch(self, listed: Listed, take: Take, begin: int = 0) -> None:
        """Its content in pieces."""
        assert not begin, "POP3 knows the whole alone"
        if not await self._retrieve(b"RETR %d" % listed.handle, take):
            raise GoneError(f"a message that was listed is not given; its server said: {self._refusal}")

    async def beginning(self, listed: Listed, octets: int) -> bytes:
        """About so much of it (TOP); nothing where the server cannot."""
        if not self._offered.has_top:
            return b""
        found = Beginning()
        try:
            await self._retrieve(b"TOP %d %d" % (listed.handle, octets // _LINE_OCTETS), found.take)
        except EnoughError:
            self._line.end(ENOUGH)
        return found.octets  # TOP need not be there (RFC 1939 §7), whatever CAPA says

    async def _retrieve(self, command: bytes, take: Take) -> bool:
        """False: the server says no."""
        self._line.write(self._machine.command(command, Kind.CONTENT))
        status = await self._status()
        if not status.is_ok:
            if status.code.startswith("SYS"):
                raise WithheldError(f"{self._access.host} cannot give a message: {status.text}")
            self._refusal = status.text
            return False
        pace = Pace(self._access.host)
        while True:
            event = await self._line.next(pace.wait_s())
            if isinstance(event, ContentEnd):
                return True
            assert isinstance(event, Piece)
            pace.came(len(event.octets))
            await take(event.octets)

    def hidden(self, uids: Iterable[str]) -> Sequence[Listed]:
        """None: a deletion that was cut short is none."""
        return ()

    async def sizes(self, found: Sequence[Listed]) -> Sequence[Listed]:
        """They are known."""
        return found

    async def delete(self, found: Sequence[Listed]) -> bool:
        """Marked now, and gone when done() says so (RFC 1939 §6)."""
        ahead = PIPELINED_MAX if self._offered.is_pipelining else 1
        for start in range(0, len(found), ahead):
            some = found[start : start + ahead]
            for listed in some:
                self._line.write(self._machine.command(b"DELE %d" % listed.handle))
            for _ in some:
                status = await self._status()
                if not status.is_ok:
                    self._refused, self._refusal = self._refused + 1, status.text
        self._has_deleted = self._has_deleted or bool(found)
        return False

    @property
    def undeleted(self) -> str:
        """What its server refused."""
        return (
            f"{self._refused} are not deleted there; its server said: {self._refusal}"
            if self._refused
            else ""
        )

    async def done(self) -> bool:
        """QUIT; True: what was deleted is gone."""
        try:
            status = await self._ask(b"QUIT")
        except BoxError:
            if self._has_deleted:
                raise
            return False
        finally:
            self._line.close()
        if self._has_deleted and not status.is_ok:
            raise BoxError(f"{self._access.host} did not delete what was fetched: {status.text}")
        return status.is_ok and not self._refused

    # Questions.

    async def _ask(self, command: bytes) -> Status:
        self._line.write(self._machine.command(command))
        return await self._status()

    async def _ask_listing(self, command: bytes) -> tuple[Status, Sequence[bytes]]:
        self._line.write(self._machine.command(command, Kind.LISTING))
        status = await self._status()
        if not status.is_ok:
            return status, ()
        listing = await self._line.next(ANSWER_S)
        assert isinstance(listing, Listing)
        return status, listing.lines

    async def _status(self) -> Status:
        status = await self._line.next()
        assert isinstance(status, Status)
        return status

    async def _status_or_challenge(self) -> Status | Challenge:
        answer = await self._line.next()
        assert isinstance(answer, Status | Challenge)
        return answer

    def _expect(self, status: Status, what: str) -> None:
        if not status.is_ok:
            raise BoxError(f"{self._access.host} refuses {what}: {status.text}")

    def _parsed(self, parse: Callable[[Sequence[bytes]], _Found], lines: Sequence[bytes]) -> _Found:
        try:
            return parse(lines)
        except Pop3Error as error:
            raise BoxError(f"{self._access.host}: {error}") from None
