"""Collected: takes what the link process has fetched into DATA/collect/incoming; each once, over crashes.

The name of a file says how far it came: TOKEN; TOKEN.ID once it has its queue id; TOKEN.ID.taken once the
spool (or the quarantine) has it for good. It comes into the spool on hold, and is let go only behind the last
of these names: so nobody delivers, and forgets, what the next start would not know to be taken."""

import asyncio
import os
import re
import stat
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from cmail.mail.address import Address, AddressSyntaxError, parse_address
from cmail.mail.content import Content, normalize
from cmail.mail.envelope import Envelope, Recipient
from cmail.mail.headers import find_field, header_of
from cmail.mail.limits import CONTENT_IN_MEMORY_MAX
from cmail.mail.queue_id import QueueId, parse_queue_id, print_queue_id
from cmail.mail.trace import date_text, printable
from cmail.net.control import EX_TEMPFAIL, AnswerFunction, ControlError
from cmail.policy.rewriting import POSTMASTER, Unknown
from cmail.policy.validation.examine import Examination
from cmail.policy.validation.rules import Verdict
from cmail.smtpd.context import IntakeContext
from cmail.smtpd.drop_read import read_content
from cmail.storage import durable
from cmail.storage.quarantine import NotThereError, Quarantine
from cmail.storage.spool import NewMessage, SpoolError, SpoolFullError

FOLDER: Final = os.path.join("collect", "incoming")  # in the data folder
EX_DATA: Final = 65  # the message is at fault: it is not asked again
EX_USAGE: Final = 64
EX_NOUSER: Final = 67  # it waits, and stays where it was fetched from, until somebody has that address
RECIPIENTS_MAX: Final = 1000
TAKEN: Final = ".taken"
_TOKEN: Final = re.compile(r"[0-9a-f]{8,64}\Z")
Fields = dict[str, Any]
LetGo = Callable[[QueueId], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Handover:
    """What the link process says of a message."""

    token: str
    account: str
    protocol: str
    host: str
    recipients: tuple[Address, ...]
    reverse_path: Address | None
    is_report: bool
    is_for_one: bool  # the mailbox of one person; else of a whole domain, with postmaster for who is nobody


class Collected:
    """Of the first worker."""

    def __init__(
        self, folder: str, context: Callable[[], IntakeContext], quarantine: Quarantine, let_go: LetGo
    ) -> None:
        """`context`: as sessions have it now. `let_go`: what is on hold in the spool is delivered."""
        self._folder = folder
        self._context = context
        self._quarantine = quarantine
        self._let_go = let_go
        self._under_way: dict[str, asyncio.Task[Fields]] = {}

    def functions(self) -> Mapping[str, AnswerFunction]:
        """Question -> its function, for the control server."""
        return {"messages.collect": self.collect}

    async def collect(self, request: Fields) -> Fields:
        """{file, account, protocol, host, recipients, from, is_report, is_for_one}: {id, is_quarantined} when
        it is durable. Asked again it answers the same. ControlError 65: the message is at fault; 67: nobody
        here has that address; 75: we are."""
        handover = _parse(request)
        task = self._under_way.get(handover.token)
        if task is None:
            task = asyncio.create_task(self._take(handover), name=f"collect {handover.token}")
            self._under_way[handover.token] = task
            task.add_done_callback(lambda _: self._under_way.pop(handover.token, None))
        return await asyncio.shield(task)

    async def _take(self, handover: Handover) -> Fields:
        try:
            return await self._go_on(handover)
        except FileNotFoundError:
            raise ControlError("there is no such file any more", EX_USAGE) from None
        except (OSError, SpoolError) as error:
            words = getattr(error, "strerror", None) or str(error)
            raise ControlError(f"the message cannot be kept just now: {words}", EX_TEMPFAIL) from None

    async def _go_on(self, handover: Handover) -> Fields:
        """From wherever an earlier try has come to."""
        context = self._context()
        name = await asyncio.to_thread(_find, self._folder, handover.token)
        if name.endswith(TAKEN):
            queue_id = _id_of(name)
        else:
            _check_room(context)
            _check_person(context, handover)
            name, queue_id = await self._claim(context, name)
            if not await self._is_there(context, queue_id):
                await self._accept(context, handover, queue_id, os.path.join(self._folder, name))
            await asyncio.to_thread(self._rename, name, name + TAKEN)
        is_quarantined = await asyncio.to_thread(self._is_in_quarantine, queue_id)
        if not is_quarantined:
            await self._let_go(queue_id)
        return {"id": print_queue_id(queue_id), "is_quarantined": is_quarantined}

    async def _claim(self, context: IntakeContext, name: str) -> tuple[str, QueueId]:
        """The name with the queue id in it; durable, so that no second id is ever given."""
        if "." in name:
            return name, _id_of(name)
        queue_id = context.spool.new_queue_id()
        claimed = f"{name}.{print_queue_id(queue_id)}"
        await asyncio.to_thread(self._rename, name, claimed)
        return claimed, queue_id

    def _rename(self, old: str, new: str) -> None:
        os.rename(os.path.join(self._folder, old), os.path.join(self._folder, new))
        durable.sync_folder(self._folder)

    async def _is_there(self, context: IntakeContext, queue_id: QueueId) -> bool:
        if await context.spool.message(queue_id) is not None:
            return True
        return await asyncio.to_thread(self._is_in_quarantine, queue_id)

    def _is_in_quarantine(self, queue_id: QueueId) -> bool:
        try:
            self._quarantine.get(print_queue_id(queue_id))
        except NotThereError:
            return False
        return True

    async def _accept(self, context: IntakeContext, handover: Handover, queue_id: QueueId, path: str) -> None:
        """Durable when it returns."""
        content_path = context.spool.content_path(queue_id)
        await asyncio.to_thread(durable.remove, content_path)  # of a try that was cut short
        is_taken = False
        try:
            read = await asyncio.to_thread(_read, path, content_path, handover, context.max_message_size)
            refusal = read.verdict.refusal
            recipients = _recipients(context, handover)
            envelope = Envelope(
                handover.reverse_path,
                tuple(Recipient(each) for each in recipients),
                is_smtputf8=not all(each.is_ascii for each in (*recipients, handover.reverse_path) if each),
                is_8bit=read.content.has_8bit,
            )
            if refusal is not None and (context.validation or refusal.rule.is_always):
                await asyncio.to_thread(self._keep, context, handover, queue_id, envelope, read)
            else:
                await self._spool(context, handover, queue_id, envelope, read)
                is_taken = True
        finally:
            if not is_taken:
                await asyncio.to_thread(durable.remove, content_path)

    def _keep(
        self, context: IntakeContext, handover: Handover, queue_id: QueueId, envelope: Envelope, read: "_Read"
    ) -> None:
        """Nobody is there any more who could be told that it is refused."""
        kept = self._quarantine.keep(
            queue_id, envelope, read.content, read.verdict, _origin(handover), context.clock.wall_ms()
        )
        refusal = read.verdict.refusal
        assert refusal is not None
        context.maillog.warned(
            f"{kept.id}, {_origin(handover)}, is in quarantine (cmail quarantine): {refusal.text}"
        )

    async def _spool(
        self, context: IntakeContext, handover: Handover, queue_id: QueueId, envelope: Envelope, read: "_Read"
    ) -> None:
        arrived_ms = context.clock.wall_ms()
        prefix = _trace(context.hostname, handover, queue_id, envelope, arrived_ms)
        content = replace(read.content, prefix=prefix, size_bytes=read.content.size_bytes + len(prefix))
        await context.spool.accept(
            NewMessage(
                queue_id,
                envelope,
                content,
                tuple(context.routing.route(each.forward_path) for each in envelope.recipients),
                arrived_wall_ms=arrived_ms,
                arrived_link_ms=context.link_clock.link_ms(),
                origin=_origin(handover),
                is_held=True,
            )
        )
        context.maillog.accepted(
            queue_id,
            client=f"{printable(handover.host)}[{printable(handover.account)}]",
            helo="",
            protocol=handover.protocol.upper(),
            message_id=(find_field(read.header, b"message-id") or b"")[:500].decode("ascii", "replace"),
            reverse_path=envelope.reverse_path_text,
            size_bytes=content.size_bytes,
            recipients_count=len(envelope.recipients),
            service="collect",
        )


@dataclass(frozen=True, slots=True)
class _Read:
    content: Content
    header: bytes
    verdict: Verdict


def _read(path: str, content_path: str, handover: Handover, size_max: int) -> _Read:
    """Blocks. ControlError 65: no message here may be like that."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ControlError("it is not a regular file", EX_DATA)
        if status.st_size > size_max:
            raise ControlError(f"it is larger than {size_max} octets", EX_DATA)
        first = file.read(CONTENT_IN_MEMORY_MAX)
        is_whole = len(first) < CONTENT_IN_MEMORY_MAX
        header = header_of(normalize(first))
        if not is_whole and len(header) >= CONTENT_IN_MEMORY_MAX - 2:
            raise ControlError("its header section is larger than we take", EX_DATA)
        examination = Examination(is_report=handover.is_report)
        content = read_content(first, file, "" if is_whole else content_path, examination)
    if not content.size_bytes:
        raise ControlError("it is empty", EX_DATA)
    return _Read(content, header, examination.finish())


def _parse(request: Fields) -> Handover:
    token = str(request.get("file", ""))
    recipients = request.get("recipients")
    if (
        not _TOKEN.match(token)
        or not isinstance(recipients, list)
        or not 0 < len(recipients) <= RECIPIENTS_MAX
    ):
        raise ControlError("no such file", EX_USAGE)
    try:
        reverse_path = str(request.get("from", ""))
        return Handover(
            token,
            str(request.get("account", "")),
            str(request.get("protocol", "")),
            str(request.get("host", "")),
            tuple(parse_address(str(each).encode()) for each in recipients),
            parse_address(reverse_path.encode()) if reverse_path else None,
            bool(request.get("is_report")),
            request.get("is_for_one") is True,
        )
    except (AddressSyntaxError, UnicodeEncodeError) as error:
        raise ControlError(f"an address that is none: {error}", EX_USAGE) from None


def _check_room(context: IntakeContext) -> None:
    trouble = context.spool.refusal()
    if trouble is not None:
        is_full = isinstance(trouble, SpoolFullError)
        words = "there is no room for a message just now" if is_full else "no message can be kept just now"
        raise ControlError(words, EX_TEMPFAIL)


def _check_person(context: IntakeContext, handover: Handover) -> None:
    """Mail of one person is no other's: it waits for the account, which was deleted or comes later."""
    if handover.is_for_one and any(_is_nobody(context, each) for each in handover.recipients):
        raise ControlError(f"nobody here is {handover.recipients[0].text}", EX_NOUSER)


def _is_nobody(context: IntakeContext, address: Address) -> bool:
    return context.routing.is_local(address.domain) and isinstance(
        context.directory.resolve(address), Unknown
    )


def _recipients(context: IntakeContext, handover: Handover) -> tuple[Address, ...]:
    """Whom it goes to; in the place of who is nobody here postmaster gets it: it was taken already, and
    nobody could be told."""
    found: dict[Address, None] = {}
    for address in handover.recipients:
        if _is_nobody(context, address):
            address = Address(POSTMASTER, address.domain)
        found[address] = None
    return tuple(found)


def _find(folder: str, token: str) -> str:
    names = [name for name in os.listdir(folder) if name.partition(".")[0] == token]
    if not names:
        raise FileNotFoundError(token)
    return max(names, key=len)


def _id_of(name: str) -> QueueId:
    return parse_queue_id(name.split(".")[1])


def _origin(handover: Handover) -> str:
    account, host = printable(handover.account), printable(handover.host)
    return f"collected from {account} ({handover.protocol.upper()} at {host})"


def _trace(
    hostname: str, handover: Handover, queue_id: QueueId, envelope: Envelope, arrived_ms: int
) -> bytes:
    """Our Received field (RFC 5321 §4.4). Its words are those by which link/collect knows a circle."""
    only = f"\r\n\tfor <{envelope.recipients[0].forward_path}>" if len(envelope.recipients) == 1 else ""
    return (
        f"Received: from {printable(handover.host)} (mailbox {printable(handover.account)})\r\n"
        f"\tby {hostname} with {handover.protocol.upper()} id {print_queue_id(queue_id)}{only};\r\n"
        f"\t{date_text(arrived_ms // 1000)}\r\n"
    ).encode()
