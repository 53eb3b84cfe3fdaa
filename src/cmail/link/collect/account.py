"""Fetcher: one account: what its box has, what of it is new, and how each message comes here once.

The order is everything: whole and durable in a file; a row in the ledger with its digest; the worker has it;
the row says so; deleted at the server. Whatever is cut short goes on from there."""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final

from cmail.link.collect import incoming
from cmail.link.collect.blame import Blame
from cmail.link.collect.box import (
    Access,
    Box,
    BoxError,
    Fault,
    GoneError,
    Idle,
    Listed,
    WithheldError,
    box_name,
    port_of,
)
from cmail.link.collect.imap import ImapBox
from cmail.link.collect.incoming import Facts, TooMuchError, Writing
from cmail.link.collect.ledger import Entry, Ledger, State
from cmail.link.collect.moved import Moved
from cmail.link.collect.parts import Parts, RefusedError, Terms
from cmail.link.collect.pop3 import Pop3Box
from cmail.link.collect.preview import BEGINNING_OCTETS, compose_preview, print_size
from cmail.link.collect.result import Result
from cmail.link.collect.sorting import (
    Target,
    circle_of,
    is_report,
    recipients_of,
    reverse_path_of,
)
from cmail.link.settings import CollectSettings
from cmail.mail.address import parse_address
from cmail.mail.content import normalize
from cmail.mail.headers import header_of

DELETE_EACH: Final = 20  # messages: then IMAP is told to delete them
ROOM_MIN: Final = 64 * 2**20  # octets that stay free on our disk
LATER: Final = "one message at which sessions have ended is tried by itself the next time"
NOTES_MAX: Final = 3  # of a result: servers have many words
WITHHELD_MAX: Final = 20  # messages that a server refuses to give; then it is the server
VAIN_S: Final = 60.0  # the longest wait where a server tells of new mail over and over, and there is none
SMALL: Final = (64 * 1024, 2**20)  # a big message never holds up a small one


def access_of(account: CollectSettings, terms: Terms) -> Access:
    """How to come to an account's box."""
    return Access(
        account.host,
        port_of(account.protocol, account.port, account.tls),
        account.tls,
        terms.ca_file,
        account.username,
        account.folder if account.protocol == "imap" else "",
        terms.password(account),
        terms.connect_s,
    )


class Fetcher:
    """One session with one box."""

    def __init__(self, account: CollectSettings, terms: Terms, parts: Parts, blame: Blame) -> None:
        self._account, self._terms, self._parts, self._blame = account, terms, parts, blame
        self._target = Target(account.to)
        self._number = 0  # of the box in the ledger
        self._known: dict[str, Entry] = {}
        self._present: frozenset[str] = frozenset()
        self._result = Result(account.name)
        self._moved = Moved(parts, ())
        self._box: Box | None = None
        self._counted = 0  # octets that came, and were told
        self._vain = 0  # times that new mail was told of, and none was there
        self.is_collecting = True

    async def run(self, ended: Callable[[Result], None], is_idle_wanted: Callable[[], bool]) -> None:
        """Collect, tell how it ended, and again whenever the server says that there is more. BoxError."""
        name = box_name(self._account)
        async with self._parts.boxes.setdefault(name, asyncio.Lock()):
            self._number = await self._ledger(lambda ledger: ledger.box(name))
            await self._converse(ended, is_idle_wanted)

    async def _converse(self, ended: Callable[[Result], None], is_idle_wanted: Callable[[], bool]) -> None:
        if not self._terms.password(self._account):
            raise BoxError("there is no password: its password_file is empty", Fault.LOG_IN)
        box = self._box = await self._open(access_of(self._account, self._terms))
        try:
            while True:
                self.is_collecting = True
                result = await self._collect(box)
                idle = box.idle if self._account.idle else None
                if idle is None or not is_idle_wanted():
                    return await self._end(box, result, ended)
                ended(self._count(result))
                self.is_collecting = False
                await self._listen(idle, found_none=not (result.fetched or result.previewed or result.left))
                if box.idle is None:  # it offers that, and refuses it
                    await box.done()
                    return
        finally:
            box.close()

    async def _listen(self, idle: Idle, *, found_none: bool) -> None:
        """Until there is more. A server that says so over and over, and has nothing, is asked less often."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await idle()
        self._vain = self._vain + 1 if found_none and loop.time() - began < VAIN_S else 0
        if self._vain > 1:
            await asyncio.sleep(min(2.0**self._vain, VAIN_S))

    @property
    def octets_in(self) -> int:
        """What has come of the box; before the log-in nothing."""
        return self._box.octets_in if self._box is not None else 0

    def broken(self, error: BoxError) -> Result:
        """How a session ended that came to no good end: with what it brought until then."""
        result = self._count(self._result if self.is_collecting else Result(self._account.name))
        result.is_ok, result.words, result.fault = False, error.words, error.fault
        result.is_silence = error.is_silence
        return result

    def _count(self, result: Result) -> Result:
        """With all that has come until now, which is told."""
        total = self.octets_in
        octets, self._counted = total - self._counted, total
        result.octets_in += octets
        messages, result.told = result.fetched - result.told, result.fetched
        self._parts.came(messages, octets)
        return result

    async def _open(self, access: Access) -> Box:
        if self._account.protocol == "imap":
            return await ImapBox.open(access, self._parts.resolver)
        return await Pop3Box.open(access, self._parts.resolver)

    async def _end(self, box: Box, result: Result, ended: Callable[[Result], None]) -> None:
        is_certain = await box.done()
        self._note(box.undeleted)
        if is_certain and self._pending:
            uids = [each.uid for each in self._pending]
            await self._ledger(lambda ledger: ledger.deleted(self._number, uids))
            result.deleted += len(uids)
        ended(self._count(result))

    async def _collect(self, box: Box) -> Result:
        result = self._result = Result(self._account.name)
        self._pending: list[Listed] = []
        self._withheld: list[str] = []
        listed = await box.listing()
        self._present = frozenset(each.uid for each in listed)
        await self._look_back(box, listed)
        await self._ledger(lambda ledger: ledger.seen(self._number, self._present))
        self._known = await self._ledger(lambda ledger: ledger.known(self._number))
        for entry in [each for each in self._known.values() if each.token]:
            await hand_over(self._parts, self._number, self._as_now(entry), result)
            self._known = await self._ledger(lambda ledger: ledger.known(self._number))
        had = [each for each in listed if self._is_had(each.uid)]
        unlisted = (uid for uid in self._known if uid not in self._present and self._is_had(uid))
        await self._delete(box, [*had, *box.hidden(unlisted)])
        await self._fetch_new(box, [each for each in listed if self._is_new(each.uid)])
        if self._withheld:
            result.is_ok, result.fault = False, Fault.SERVER
            result.words = f"{len(self._withheld)} could not be had: {self._withheld[0]}"
        return result

    def _as_now(self, entry: Entry) -> Entry:
        """Of a mailbox of one person: whoever the settings name now; there may have been a slip in them."""
        if not entry.handover.get("is_for_one"):
            return entry
        is_for_one = not self._target.domain
        whose = {"recipients": [self._account.to]} if is_for_one else {"is_for_one": False}
        return replace(entry, handover={**entry.handover, **whose})

    async def _look_back(self, box: Box, listed: Sequence[Listed]) -> None:
        """The settings may have named it in another way before."""
        self._moved = await Moved.look(self._parts, self._account, self._number)
        if listed and await self._ledger(lambda ledger: ledger.is_new(self._number)):
            name = box_name(self._account)
            before = await self._moved.box(name, listed, lambda each: self._digest_of(box, each))
            self._number = before or self._number

    async def _fetch_new(self, box: Box, new: Sequence[Listed]) -> None:
        """Small ones first; behind all others, one by one, those at which a session has ended before."""
        self._blame.keep(self._present)
        await self._fetch_some(box, [each for each in new if not self._blame.times(each)])
        for each in sorted((each for each in new if self._blame.times(each)), key=self._blame.times):
            if self._pending and self._blame.times(each) > 1:
                self._result.is_ok, self._result.fault, self._result.words = False, Fault.SERVER, LATER
                return  # POP3 deletes at the end of a session, which is to be a good one
            await self._fetch_some(box, [each])

    async def _fetch_some(self, box: Box, some: Sequence[Listed]) -> None:
        with self._blame.on(some):
            sized = await box.sizes(some)
        taken: list[Listed] = []
        for each in sorted(sized, key=_rank):
            with self._blame.on([each]):
                if await self._take(box, each):
                    taken.append(each)
            self._count(self._result)  # a budget is not to be used up without anybody knowing
            if len(taken) >= DELETE_EACH:
                await self._delete(box, taken)
                taken = []
        await self._delete(box, taken)

    def _is_had(self, uid: str) -> bool:
        entry = self._known.get(uid)
        return entry is not None and entry.state is State.DONE

    def _is_new(self, uid: str) -> bool:
        entry = self._known.get(uid)
        if entry is None:
            return True
        return entry.is_wanted and entry.state in (State.PREVIEWED, State.LEFT)

    async def _delete(self, box: Box, found: Sequence[Listed]) -> None:
        if self._account.keep or not found:
            return
        if await box.delete(found):
            uids = [each.uid for each in found]
            await self._ledger(lambda ledger: ledger.deleted(self._number, uids))
            self._result.deleted += len(uids)
        else:
            self._pending += found

    # One message.

    async def _take(self, box: Box, listed: Listed) -> bool:
        """True: the worker has it, and it may be deleted."""
        entry = self._known.get(listed.uid)
        is_wanted = entry is not None and entry.is_wanted
        if listed.size > self._terms.size_max:
            most = print_size(self._terms.size_max)
            words = f"it has {print_size(listed.size)}, and no message here may have more than {most}"
            return await self._leave(listed, words)
        try:
            if 0 < self._account.largest < listed.size and not is_wanted:
                return await self._preview(box, listed)
            return await self._fetch(box, listed)
        except GoneError as gone:
            self._note(gone.words)
            return False
        except WithheldError as error:
            # One that it cannot read must not hold up all that lie behind it.
            self._withheld.append(error.words)
            if len(self._withheld) >= WITHHELD_MAX:
                raise
            return False
        except OSError as error:
            raise _unwritten(error) from None

    def _note(self, words: str) -> None:
        """What is no trouble of ours and yet worth a word, to who looks."""
        notes = self._result.notes
        if words and words not in notes and len(notes) < NOTES_MAX:
            notes.append(words)

    async def _digest_of(self, box: Box, listed: Listed) -> str:
        """What is in a message; "" when it cannot be had."""
        token = os.urandom(16).hex()
        with self._blame.on([listed]):
            try:
                path = await self._bring(box, listed, token)
                facts = await asyncio.to_thread(incoming.examine, path)
                await self._remove(token)
            except (GoneError, WithheldError):
                return ""
            except OSError as error:
                raise _unwritten(error) from None
        return facts.digest

    async def _fetch(self, box: Box, listed: Listed) -> bool:
        token = os.urandom(16).hex()
        path = await self._bring(box, listed, token)
        return await self._locally(box, self._hand_whole(listed, token, path))

    async def _bring(self, box: Box, listed: Listed, token: str) -> str:
        """Into a file of ours, whole: its path."""
        await asyncio.to_thread(self._need_room, listed.size)
        part = f"part-{hashlib.sha256(f'{self._number} {listed.uid}'.encode()).hexdigest()[:32]}"
        writing = Writing(self._parts.folder, token, self._terms.size_max, part if box.can_resume else "")
        try:
            begin = await asyncio.to_thread(writing.open)

            async def take(piece: bytes) -> None:
                if writing.add(piece):
                    await asyncio.to_thread(writing.write)

            if begin >= max(listed.size, 1):
                begin = 0
                await asyncio.to_thread(writing.remove)
                await asyncio.to_thread(writing.open)
            await box.fetch(listed, take, begin)
            return await asyncio.to_thread(writing.finish)
        except TooMuchError:
            writing.remove()
            most = print_size(self._terms.size_max)
            await self._leave(
                listed, f"it is larger than {most}, though its server says {listed.size} octets"
            )
            raise BoxError(f"a message is larger than {most}: the session was ended") from None
        except (BoxError, asyncio.CancelledError) as error:
            # What a server said that then went wrong is no beginning of anything.
            is_said = isinstance(error, BoxError) and error.fault is not Fault.NETWORK
            is_cut = not is_said and box.can_resume
            await asyncio.shield(asyncio.to_thread(writing.keep if is_cut else writing.remove))
            raise
        except BaseException:
            writing.remove()
            raise

    def _need_room(self, size: int) -> None:
        found = os.statvfs(os.path.dirname(os.path.dirname(self._parts.folder)))
        free = found.f_bavail * found.f_frsize
        if free < 2 * max(size, 0) + ROOM_MIN:
            raise BoxError(f"only {print_size(free)} are free on our disk", Fault.OURS)

    async def _locally(self, box: Box, work: Coroutine[Any, Any, bool]) -> bool:
        """What does not need the link is done to its end, though the link goes down meanwhile."""
        task = asyncio.create_task(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            box.close()
            await asyncio.wait((task,))
            raise

    async def _hand_whole(self, listed: Listed, token: str, path: str) -> bool:
        """A message that is here whole."""
        facts = await asyncio.to_thread(incoming.examine, path)
        if not facts.size:
            await self._remove(token)
            return await self._leave(listed, "it is empty")
        marks = (f"by {self._terms.hostname} ".encode(), f"mailbox {self._account.name})".encode())
        if circle := circle_of(facts.header, marks):
            await self._remove(token)
            return await self._leave(listed, f"it goes round in circles: {circle}", facts.digest)
        if await self._is_known(listed, facts):
            await self._remove(token)
            return True
        recipients, copy = await self._recipients(facts)
        if not recipients:
            await self._remove(token)
            await self._skip(listed, facts, "everybody that it is for had a copy of it already")
            return True
        handover = self._handover(recipients, reverse_path_of(facts.header), is_report(facts.header))
        handover["copy"] = copy  # for us: who refuses it has not had it
        entry = await self._ledger(
            lambda ledger: ledger.hand(
                self._number,
                listed.uid,
                state=State.HANDING,
                size=facts.size,
                digest=facts.digest,
                token=token,
                handover=handover,
                copy=copy,
            )
        )
        return await hand_over(self._parts, self._number, entry, self._result)

    async def _is_known(self, listed: Listed, facts: Facts) -> bool:
        """Whether the same was fetched before: under this name, from a server that did not delete it, or
        under one that is gone from the box, from a server that has changed its names. Two that are there at
        the same time are two."""
        for entry in await self._ledger(lambda ledger: ledger.same(self._number, facts.digest)):
            if entry.uid == listed.uid and entry.state is not State.HANDING:
                await self._skip(listed, facts, "it was fetched before, and its server has not deleted it")
                return True
            if entry.uid not in self._present and entry.state is State.DONE:
                await self._rename(entry, listed)
                return True
        before = await self._moved.message(facts.digest)
        if before is not None:
            await self._rename(before, listed)
        return before is not None

    async def _skip(self, listed: Listed, facts: Facts, words: str) -> None:
        number, uid = self._number, listed.uid
        await self._ledger(lambda ledger: ledger.skip(number, uid, facts.size, facts.digest, words))

    async def _rename(self, entry: Entry, listed: Listed) -> None:
        await self._ledger(lambda ledger: ledger.rename(self._number, entry, listed.uid))

    async def _recipients(self, facts: Facts) -> tuple[tuple[str, ...], str]:
        domain = self._target.domain
        if not domain:
            return (self._account.to,), ""
        found, copy = self._named(facts.header), facts.copy
        had = await self._ledger(lambda ledger: ledger.has_had(self._number, copy, found)) if copy else set()
        return tuple(each for each in found if each not in had), copy

    def _named(self, header: bytes) -> tuple[str, ...]:
        """Of a box for a whole domain."""
        domain = self._target.domain
        return recipients_of(header, domain, self._account.username) or (f"postmaster@{domain}",)

    def _handover(self, recipients: Sequence[str], reverse_path: str, is_report: bool) -> dict[str, Any]:
        account = self._account
        return {
            "account": account.name,
            "protocol": account.protocol,
            "host": account.host,
            "recipients": list(recipients),
            "from": reverse_path,
            "is_report": is_report,
            "is_for_one": not self._target.domain,
        }

    async def _preview(self, box: Box, listed: Listed) -> bool:
        """Its beginning, in a message that says how to come to the rest."""
        beginning = await box.beginning(listed, BEGINNING_OCTETS)
        header = header_of(normalize(beginning))
        domain = self._target.domain
        recipients = self._named(header) if domain else (self._account.to,)
        digest = hashlib.sha256(incoming.plain(header)).hexdigest() if header else ""
        for entry in await self._ledger(lambda ledger: ledger.previewed(self._number, listed.size, digest)):
            if entry.uid not in self._present:  # its server has changed its names
                await self._rename(entry, listed)
                return await self._fetch(box, listed) if entry.is_wanted else False
        number = await self._ledger(lambda ledger: ledger.number(self._number, listed.uid, listed.size))
        octets = compose_preview(
            name=self._account.name,
            number=number,
            size=listed.size,
            beginning=beginning,
            recipients=tuple(parse_address(each.encode()) for each in recipients),
            hostname=self._terms.hostname,
            now_ms=self._parts.clock.wall_ms(),
        )
        return await self._locally(box, self._hand_preview(listed, octets, recipients, digest))

    async def _hand_preview(
        self, listed: Listed, octets: bytes, recipients: Sequence[str], digest: str
    ) -> bool:
        token = os.urandom(16).hex()
        await asyncio.to_thread(incoming.write_whole, self._parts.folder, token, octets)
        handover = self._handover(recipients, "", True)
        entry = await self._ledger(
            lambda ledger: ledger.hand(
                self._number,
                listed.uid,
                state=State.PREVIEWING,
                size=listed.size,
                digest=digest,
                token=token,
                handover=handover,
            )
        )
        await hand_over(self._parts, self._number, entry, self._result)
        return False

    async def _leave(self, listed: Listed, words: str, digest: str = "") -> bool:
        self._result.left += 1
        self._parts.log.warned(f"collect {self._account.name}: a message is left there: {words}")
        await self._ledger(lambda ledger: ledger.leave(self._number, listed.uid, listed.size, words, digest))
        return False

    async def _remove(self, token: str) -> None:
        await asyncio.to_thread(incoming.remove, self._parts.folder, token)

    def _ledger(self, work: Callable[[Ledger], Any]) -> Awaitable[Any]:
        return self._parts.ledger.run(work)


async def hand_over(parts: Parts, box: int, entry: Entry, result: Result) -> bool:
    """Give the worker what is in the ledger as to be given, also once more after a crash: the name of the
    file says what has become of it. True: it has it."""
    if not await asyncio.to_thread(incoming.is_there, parts.folder, entry.token):
        await parts.ledger.run(lambda ledger: ledger.handed(entry, "", "it was handed over before"))
        return True  # a file is removed when the worker has it, and not before
    parts.under_way.add(entry.token)
    try:
        answer = await parts.hand({"file": entry.token, **entry.handover})
    except RefusedError as refusal:
        words = str(refusal)
        result.left += 1
        parts.log.warned(f"collect {result.name}: a message is left there: {words}")
        await parts.ledger.run(lambda ledger: ledger.refused(box, entry, words))
        await asyncio.to_thread(incoming.remove, parts.folder, entry.token)
        return False
    finally:
        parts.under_way.discard(entry.token)
    queue_id = str(answer.get("id", ""))
    await parts.ledger.run(lambda ledger: ledger.handed(entry, queue_id))
    await asyncio.to_thread(incoming.remove, parts.folder, entry.token)
    if entry.state is State.PREVIEWING:
        result.previewed += 1
    else:
        result.fetched += 1
        result.quarantined += bool(answer.get("is_quarantined"))
    return True


def _unwritten(error: OSError) -> BoxError:
    return BoxError(f"what comes cannot be written: {error.strerror or error}", Fault.OURS)


def _rank(listed: Listed) -> tuple[int, int]:
    return sum(listed.size > most for most in SMALL), listed.handle
