"""Injection: takes messages that the API has left in DATA/admin/incoming as submissions (RFC 6409) are taken.

The file has the form of smtpd/drop_file.py. It is read here and made durable before the question is answered;
whoever wrote it removes it."""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from cmail.mail.content import Content
from cmail.mail.headers import find_field
from cmail.mail.limits import CONTENT_IN_MEMORY_MAX
from cmail.mail.queue_id import QueueId, print_queue_id
from cmail.mail.trace import date_text, printable
from cmail.net.control import EX_TEMPFAIL, AnswerFunction, ControlError
from cmail.policy.rewriting import Unknown
from cmail.policy.validation.examine import Examination
from cmail.smtpd.checks import UNKNOWN_USER
from cmail.smtpd.context import IntakeContext
from cmail.smtpd.drop_file import DropFileError
from cmail.smtpd.drop_read import Dropped, read_drop
from cmail.smtpd.submission import added_fields
from cmail.storage.spool import NewMessage, SpoolFullError

INCOMING: Final = "admin/incoming"  # in the data folder
EX_DATA: Final = 65  # the message is at fault
EX_USAGE: Final = 64
_NAME: Final = re.compile(r"[0-9a-f]{8,64}\Z")
_PIECE: Final = 256 * 1024
_NOBODY: Final = UNKNOWN_USER.decode().partition("5.1.1 ")[2].strip()
Fields = dict[str, Any]


class Injection:
    """Of one worker."""

    def __init__(self, folder: str, context: Callable[[], IntakeContext]) -> None:
        """`context`: as sessions have it now."""
        self._folder = folder
        self._context = context

    def functions(self) -> Mapping[str, AnswerFunction]:
        """Question -> its function, for the control server."""
        return {"messages.inject": self.inject}

    async def inject(self, request: Fields) -> Fields:
        """{file, by, client}: {id, size} when it is durable, or {refused: [[number of the recipient,
        words], ...]}, and then nobody gets it. ControlError 65: the message is at fault; 75: we are."""
        context, name = self._context(), str(request.get("file", ""))
        if not _NAME.match(name):
            raise ControlError("no such file", EX_USAGE)
        trouble = context.spool.refusal()
        if trouble is not None:
            full = isinstance(trouble, SpoolFullError)
            words = "there is no room for a message just now" if full else "no message can be kept just now"
            raise ControlError(words, EX_TEMPFAIL)
        queue_id = context.spool.new_queue_id()
        content_path = context.spool.content_path(queue_id)
        is_taken = False
        try:
            dropped = await _read(os.path.join(self._folder, name), content_path, context)
            if refused := _refused(context, dropped):
                return {"refused": refused}
            by, client = str(request.get("by", "")), str(request.get("client", ""))
            size_bytes = await self._accept(context, queue_id, dropped, by, client)
            is_taken = True
            return {"id": print_queue_id(queue_id), "size": size_bytes}
        finally:
            if not is_taken:
                with contextlib.suppress(FileNotFoundError):
                    await asyncio.to_thread(os.unlink, content_path)

    async def _accept(
        self, context: IntakeContext, queue_id: QueueId, dropped: Dropped, by: str, client: str
    ) -> int:
        """Durable when it returns; its size."""
        arrived_ms = context.clock.wall_ms()
        content = _with_trace(context.hostname, dropped, queue_id, by, arrived_ms)
        envelope = dropped.envelope
        routes = tuple(context.routing.route(each.forward_path) for each in envelope.recipients)
        await context.spool.accept(
            NewMessage(
                queue_id,
                envelope,
                content,
                routes,
                arrived_wall_ms=arrived_ms,
                arrived_link_ms=context.link_clock.link_ms(),
                origin=f"{by} by API",
            )
        )
        message_id = find_field(content.prefix, b"message-id") or b""
        context.maillog.accepted(
            queue_id,
            client=f"api[{printable(client)}]",
            helo="",
            protocol="API",
            message_id=dropped.message_id or message_id.decode("ascii", "replace"),
            reverse_path=envelope.reverse_path_text,
            size_bytes=content.size_bytes,
            recipients_count=len(envelope.recipients),
            sasl_method="token",
            sasl_username=by,
            service="api",
        )
        return content.size_bytes


async def _read(path: str, content_path: str, context: IntakeContext) -> Dropped:
    size_max = context.max_message_size
    try:
        dropped = await asyncio.to_thread(read_drop, path, content_path, size_max, hides_bcc=True)
        if dropped.content.size_bytes > size_max:  # lines that end in CRLF now count too
            raise DropFileError(f"it is larger than {size_max} octets")
        if not dropped.header:
            raise DropFileError("it has no header section")
        await asyncio.to_thread(_validate, dropped, context.validation)
    except DropFileError as error:
        raise ControlError(str(error), EX_DATA) from None
    except OSError as error:
        raise ControlError(f"the message cannot be read: {error.strerror}", EX_TEMPFAIL) from None
    if len(dropped.header) >= CONTENT_IN_MEMORY_MAX - 2:
        raise ControlError("its header section is larger than we take", EX_DATA)
    most = context.settings.recipients
    if len(dropped.envelope.recipients) > most:
        raise ControlError(f"it has more than {most} recipients", EX_DATA)
    return dropped


def _validate(dropped: Dropped, is_on: bool) -> None:
    """As of every message that comes in; blocks. DropFileError: what a mail program could not show."""
    envelope, content = dropped.envelope, dropped.content
    found = Examination(is_report=envelope.reverse_path is None, is_utf8=envelope.is_smtputf8)
    found.begin(dropped.header)
    if content.is_in_memory:
        found.feed(content.octets)
    else:
        with open(content.path, "rb") as file:
            while piece := file.read(_PIECE):
                found.feed(piece)
    refusal = found.finish().refusal
    if refusal is not None and (is_on or refusal.rule.is_always):
        raise DropFileError(refusal.text)


def _refused(context: IntakeContext, dropped: Dropped) -> list[list[Any]]:
    """The recipients that nobody here has (rule 13)."""
    if not context.refuse_unknown_users:
        return []
    return [
        [number, _NOBODY]
        for number, each in enumerate(dropped.envelope.recipients)
        if context.routing.is_local(each.forward_path.domain)
        and isinstance(context.directory.resolve(each.forward_path), Unknown)
    ]


def _with_trace(hostname: str, dropped: Dropped, queue_id: QueueId, by: str, arrived_ms: int) -> Content:
    """On top our Received field (RFC 5321 §4.4), and what is missing of Date and Message-ID."""
    name = print_queue_id(queue_id)
    trace = (
        f"Received: by {hostname} (CMail, API, {' '.join(map(printable, by.split()))})\r\n"
        f"\tid {name}; {date_text(arrived_ms // 1000)}\r\n"
    )
    prefix = trace.encode() + added_fields(dropped.header, name, hostname, arrived_ms)
    content = dropped.content
    return replace(content, prefix=prefix, size_bytes=content.size_bytes + len(prefix))
