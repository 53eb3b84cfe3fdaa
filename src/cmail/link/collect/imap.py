"""ImapBox: a session with an IMAP server (RFC 3501): log-in, one folder, content, deletion, IDLE.

Messages are known by UIDVALIDITY and UID. Nothing is marked as read, and with UIDPLUS nothing is expunged
that is not ours to expunge."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from cmail.link.collect import line as waits
from cmail.link.collect.box import (
    ENOUGH,
    Access,
    Beginning,
    BoxError,
    EnoughError,
    Fault,
    GoneError,
    Idle,
    Listed,
    Take,
    WithheldError,
)
from cmail.link.collect.line import Line, Pace, connect
from cmail.link.collect.line_box import LineBox
from cmail.link.collect.log_ins import NOT_NOW, refused
from cmail.protocol.imap_client import (
    ContentBegin,
    Continue,
    Event,
    ImapClient,
    Tagged,
    Untagged,
)
from cmail.protocol.imap_client_data import ImapError, fetched, folder_name, origin_of, uid_set
from cmail.protocol.imap_client_login import LogIn, Send, log_in, send_arguments
from cmail.protocol.pop3_client import LogInError, Piece
from cmail.protocol.sasl_client import Credentials
from cmail.world import Resolver

MESSAGES_MAX: Final = 200_000
UIDS_A_COMMAND: Final = 200  # a line that every server takes
IDLE_S: Final = 29 * 60.0  # RFC 2177: begin anew at least every 29 minutes
_SIZE: Final = f"RFC{822}.SIZE"  # the item's name; no standard is cited
UNTAGGED_MAX: Final = 100_000  # of one command: who says more never ends
ANSWER_OCTETS_MAX: Final = 16 * 2**20  # to one command, but for content: so much is a large search


class ImapBox(LineBox):
    """See box.Box."""

    can_resume = True

    def __init__(self, line: Line, machine: ImapClient, access: Access) -> None:
        super().__init__(line)
        self._machine, self._access = machine, access
        self._capabilities: frozenset[str] = frozenset()
        self._validity = 0
        self._waiting: set[int] = set()  # marked as deleted, and not deleted
        self._is_leaving = self._has_news = self._refuses_idle = False

    @classmethod
    async def open(cls, access: Access, resolver: Resolver) -> "ImapBox":
        """Connected, logged in, the folder open; BoxError when it does not come to that."""
        machine = ImapClient()
        return await cls(await connect(machine, access, resolver), machine, access).begun()

    @property
    def idle(self) -> Idle | None:
        """Where the server tells of new mail (RFC 2177)."""
        return self._idle if "IDLE" in self._capabilities and not self._refuses_idle else None

    # The log-in.

    async def _begin(self) -> None:
        greeting = await self._line.next()
        if not isinstance(greeting, Untagged) or greeting.word not in ("OK", "PREAUTH"):
            said = greeting.text if isinstance(greeting, Untagged) else ""
            raise BoxError(f"{self._access.host} does not let us in: {said}")
        self._note(greeting)
        await self._need_capabilities()
        if self._access.tls in ("opportunistic", "required"):
            await self._start_tls(greeting)
        if greeting.word != "PREAUTH":
            await self._log_in()
        await self._ask_capabilities()
        await self._select()

    async def _need_capabilities(self) -> None:
        if not self._capabilities:
            await self._ask_capabilities()

    async def _ask_capabilities(self) -> None:
        self._expect((await self._ask(b"CAPABILITY"))[0], "to say what it can")

    async def _start_tls(self, greeting: Untagged) -> None:
        """RFC 3501 §6.2.1: what was said before is forgotten."""
        is_required = self._access.tls == "required"
        if greeting.word == "PREAUTH" or "STARTTLS" not in self._capabilities:
            if is_required:
                raise BoxError(f"TLS is required and {self._access.host} has none here")
            return
        self._line.hold()
        answer, _ = await self._ask(b"STARTTLS")
        if answer.is_ok:
            await self._line.start_tls(self._access)
            await self._ask_capabilities()
        elif is_required:
            raise BoxError(f"TLS is required and {self._access.host} has none here: {answer.text}")
        else:
            self._line.stop_holding()

    async def _log_in(self) -> None:
        access, line = self._access, self._line
        credentials = Credentials(access.username, access.password)
        try:
            await self._run(log_in(credentials, self._capabilities, line.is_encrypted or line.is_loopback))
        except LogInError as error:
            raise refused(access, error) from None

    async def _select(self) -> None:
        folder = self._access.folder or "INBOX"
        try:
            found = await self._run(send_arguments(b"SELECT", (folder_name(folder),)))
        except LogInError as error:
            said = f": {error.status.text}" if error.status else ""
            if error.status is not None and error.status.code.upper() in NOT_NOW:
                words = f"the folder {folder} of {self._access.username} cannot be opened just now{said}"
            else:
                words = f"there is no folder {folder} for {self._access.username}{said}"
            raise BoxError(words) from None
        for each in found:
            if each.word == "OK" and each.code.upper().startswith("UIDVALIDITY "):
                number = each.code.split(" ")[1]
                is_number = number.isascii() and number.isdigit() and len(number) < 11
                self._validity = int(number) if is_number else 0
        if not self._validity:
            raise BoxError(
                f"{self._access.host} does not say what its message numbers are good for (UIDVALIDITY)"
            )

    async def _run(self, conversation: LogIn) -> Sequence[Untagged]:
        """A command of several parts, each said when the server asks for it; what came meanwhile."""
        found: list[Untagged] = []
        try:
            send = next(conversation)
            while True:
                answer = await self._send(send, found)
                send = conversation.send(answer)
        except StopIteration:
            return found

    async def _send(self, send: Send, found: list[Untagged]) -> Continue | Tagged:
        if send.is_command:
            self._line.write(self._machine.command(send.octets)[1])
        else:
            self._line.write(send.octets + b"\r\n")
        return await self._answered(found)

    async def _answered(self, found: list[Untagged]) -> Continue | Tagged:
        """What ends an answer; what came before it goes to `found`. Bounded in number, octets and time."""
        until = self._line.octets_in + ANSWER_OCTETS_MAX
        try:
            async with asyncio.timeout(waits.ALL_PARTS_S):
                for _ in range(UNTAGGED_MAX):
                    event = self._note(await self._line.next())
                    if isinstance(event, Continue | Tagged):
                        return event
                    if self._line.octets_in > until:
                        break
                    if isinstance(event, Untagged):
                        found.append(event)
        except TimeoutError:
            words = f"{self._access.host} did not come to the end of an answer in {waits.ALL_PARTS_S:.0f} s"
            raise BoxError(words, Fault.NETWORK) from None
        raise BoxError(f"{self._access.host} does not come to an end")

    # What is there.

    async def listing(self) -> Sequence[Listed]:
        """What is there and not marked as deleted, oldest first."""
        self._has_news = False
        answer, said = await self._ask(b"UID SEARCH UNDELETED")
        self._expect(answer, "a search")
        uids = sorted({int(uid) for each in said if each.word == "SEARCH" for uid in each.values})
        return [Listed(self._name(uid), -1, uid) for uid in uids[:MESSAGES_MAX]]

    def hidden(self, uids: Iterable[str]) -> Sequence[Listed]:
        """Those that we have marked, perhaps, and not expunged any more before the line broke."""
        names = [uid.partition(":") for uid in uids]
        handles = [int(uid) for validity, _, uid in names if validity == str(self._validity)]
        return [Listed(self._name(handle), -1, handle) for handle in handles]

    async def sizes(self, found: Sequence[Listed]) -> Sequence[Listed]:
        """The same with their sizes; who is gone meanwhile is left out."""
        sizes: dict[int, int] = {}
        for start in range(0, len(found), UIDS_A_COMMAND):
            numbers = uid_set([each.handle for each in found[start : start + UIDS_A_COMMAND]])
            answer, said = await self._ask(b"UID FETCH " + numbers + b" (UID " + _SIZE.encode() + b")")
            self._expect(answer, "the sizes of messages")
            for each in said:
                items = self._items(each)
                uid, size = items.get("UID"), items.get(_SIZE)
                if isinstance(uid, int):  # without a size it is there all the same
                    sizes[uid] = size if isinstance(size, int) else sizes.get(uid, 0)
        return [Listed(each.uid, sizes[each.handle], each.handle) for each in found if each.handle in sizes]

    def _name(self, uid: int) -> str:
        return f"{self._validity}:{uid}"

    def _items(self, said: Untagged) -> dict[str, object]:
        if said.word != "FETCH":
            return {}
        try:
            return dict(fetched(said.values))
        except ImapError as error:
            raise BoxError(f"{self._access.host}: {error}") from None

    # One message.

    async def fetch(self, listed: Listed, take: Take, begin: int = 0) -> None:
        """Its content in pieces, from an octet on; never marked as read (PEEK)."""
        part = b"<%d.%d>" % (begin, 0xFFFFFFFF - begin) if begin else b""
        await self._fetch(listed, part, take, begin)

    async def beginning(self, listed: Listed, octets: int) -> bytes:
        """So much of it."""
        found = Beginning()
        try:
            await self._fetch(listed, b"<0.%d>" % octets, found.take)
        except EnoughError:
            self._line.end(ENOUGH)
        return found.octets

    async def _fetch(self, listed: Listed, part: bytes, take: Take, begin: int = 0) -> None:
        command = b"UID FETCH %d (UID BODY.PEEK[]%s)" % (listed.handle, part)
        self._line.write(self._machine.command(command)[1])
        pace = Pace(self._access.host)
        most = self._line.octets_in + ANSWER_OCTETS_MAX  # and the content
        has_come = is_streamed = is_other = False
        origin = begin
        while True:
            event = self._note(await self._line.next(pace.wait_s()))
            if self._line.octets_in > most:
                raise BoxError(f"{self._access.host} does not come to an end")
            if isinstance(event, ContentBegin):
                if has_come or is_streamed:
                    raise BoxError(f"{self._access.host} sent two messages for one")
                is_streamed = True
            elif isinstance(event, Piece):
                pace.came(len(event.octets))
                most += len(event.octets)
                await take(event.octets)
            elif isinstance(event, Untagged) and event.word == "FETCH":
                items = self._items(event)
                if "BODY[]" not in items:
                    continue
                is_other = is_other or items.get("UID", listed.handle) != listed.handle
                origin = origin_of(event.values)
                body = items["BODY[]"]
                if isinstance(body, bytes) and body:  # a short one may come as a string
                    await take(body)
                has_come = body is not None
            elif isinstance(event, Tagged):
                break
        if is_other:
            raise BoxError(f"{self._access.host} sent another message than it was asked for")
        if event.code.upper() in ("EXPUNGEISSUED", "NONEXISTENT"):  # RFC 5530 §3
            raise GoneError("")
        if not event.is_ok:
            kind = BoxError if event.word == "BAD" else WithheldError
            raise kind(f"{self._access.host} refuses a message: {event.text}")
        if origin != begin:  # the rest was asked for: it is fetched whole the next time
            raise BoxError(f"{self._access.host} sent another part of a message than it was asked for")
        if not has_come:
            raise GoneError("")

    async def delete(self, found: Sequence[Listed]) -> bool:
        """Marked and expunged, they alone (RFC 4315 §2.1)."""
        uids = sorted(each.handle for each in found)
        for start in range(0, len(uids), UIDS_A_COMMAND):
            some = uids[start : start + UIDS_A_COMMAND]
            numbers = uid_set(some)
            answer, _ = await self._ask(b"UID STORE " + numbers + b" +FLAGS.SILENT (\\Deleted)")
            self._expect(answer, "to mark what was fetched as deleted")
            if not self._capabilities.isdisjoint(("UIDPLUS", "IMAP4REV2")):
                answer, _ = await self._ask(b"UID EXPUNGE " + numbers)
                self._expect(answer, "to delete what was fetched")
        if self._capabilities.isdisjoint(("UIDPLUS", "IMAP4REV2")):
            return await self._expunge(set(uids))
        return True

    @property
    def undeleted(self) -> str:
        """What is marked, and would take others' messages along."""
        if not self._waiting:
            return ""
        words = "are marked as deleted there and stay: somebody else has marked messages too"
        return f"{len(self._waiting)} {words}, and its server deletes all or none"

    async def _expunge(self, ours: set[int]) -> bool:
        """Without UIDPLUS all that is marked goes: only when nobody else has marked anything."""
        answer, said = await self._ask(b"UID SEARCH DELETED")
        self._expect(answer, "a search")
        marked = {int(uid) for each in said if each.word == "SEARCH" for uid in each.values}
        if not marked <= ours:
            self._waiting |= ours
            return False
        self._expect((await self._ask(b"EXPUNGE"))[0], "to delete what was fetched")
        return True

    async def _idle(self) -> None:
        """Until the server tells of new mail, or it is time to begin anew."""
        loop = asyncio.get_running_loop()
        until, most = loop.time() + IDLE_S, self._line.octets_in + ANSWER_OCTETS_MAX
        if self._has_news:  # told while it was collected
            return
        self._line.write(self._machine.command(b"IDLE")[1])
        while not self._has_news:
            left = until - loop.time()
            if left <= 0:
                break
            try:
                event = self._note(await self._line.next(left))
            except BoxError:
                if loop.time() < until:
                    raise
                break
            if isinstance(event, Tagged):
                self._refuses_idle = not event.is_ok  # some offer it, and not to everybody
                return
            if self._line.octets_in > most:
                raise BoxError(f"{self._access.host} talks without end while it is to be silent")
        self._line.write(b"DONE\r\n")
        answer = await self._answered([])
        if isinstance(answer, Continue):  # RFC 2177: it may come as late as that
            answer = await self._answered([])
        if isinstance(answer, Tagged):
            self._expect(answer, "IDLE")

    async def done(self) -> bool:
        """LOGOUT; what is gone was gone before."""
        self._is_leaving = True
        try:
            await self._ask(b"LOGOUT")
        except BoxError:
            pass
        finally:
            self._line.close()
        return False

    # Questions.

    async def _ask(self, command: bytes) -> tuple[Tagged, Sequence[Untagged]]:
        found: list[Untagged] = []
        answer = await self._send(Send(command, True), found)
        if isinstance(answer, Continue):
            raise BoxError(f"{self._access.host} waits for more of {command.split()[0].decode()}")
        return answer, found

    def _note(self, event: Event) -> Event:
        """What stands in any answer: capabilities; BYE ends the session."""
        if isinstance(event, Untagged):
            if event.word == "CAPABILITY":
                self._capabilities = frozenset(str(each).upper() for each in event.values)
            elif event.word in ("EXISTS", "RECENT") and event.number > 0:
                self._has_news = True
            elif event.word == "BYE" and not self._is_leaving:
                raise BoxError(f"{self._access.host} ended the session: {event.text}", Fault.NETWORK)
        if isinstance(event, Untagged | Tagged) and event.code.upper().startswith("CAPABILITY "):
            self._capabilities = frozenset(event.code.upper().split(" ")[1:])
        return event

    def _expect(self, answer: Tagged, what: str) -> None:
        if not answer.is_ok:
            raise BoxError(f"{self._access.host} refuses {what}: {answer.text}")
