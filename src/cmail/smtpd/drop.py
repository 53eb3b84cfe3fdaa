"""DropWatch: takes what `sendmail` left in DATA/drop into the spool, and then removes it there.

A file is renamed to taken-<queue id> before it is read. After a crash that name says whether the spool
has it already: then it is removed and not sent twice. What cannot be read is set aside with a line in
the log, and never stops the others."""

import asyncio
import contextlib
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from cmail.mail.content import Content
from cmail.mail.date import print_date
from cmail.mail.queue_id import QueueId, parse_queue_id, print_queue_id
from cmail.observe import maillog
from cmail.policy.routing import RoutingTable
from cmail.smtpd.drop_file import NEW_PREFIX, READY_PREFIX, TAKEN_PREFIX, DropFileError
from cmail.smtpd.drop_read import Dropped, read_drop
from cmail.storage import durable
from cmail.storage.quarantine import Quarantine
from cmail.storage.spool import NewMessage, Spool, SpoolError
from cmail.world import Clock, LinkClock

LOOK_S: Final = 0.25  # how often the folder's time of change is looked at
SETTLE_S: Final = 1.0  # a folder that changed so lately may have changed again within the same tick
WHOLE_LOOK_S: Final = 60.0  # the folder is read at least so often, whatever its time says
AT_ONCE_MAX: Final = 50  # files taken at the same time: one commit of the spool
REST_S: Final = 5.0  # after the spool could not take one
_HOPELESS_MAX: Final = 1000
LEFT_AFTER: Final = timedelta(days=1)  # a file that nobody finished for so long is set aside


@dataclass(slots=True)
class DropWatch:
    """Watches one drop folder for one shard. One worker runs it: the one with the first shard."""

    folder: str  # DATA/drop
    aside: str  # DATA/aside, made when it is needed
    spool: Spool
    routing: Callable[[], RoutingTable]  # a reload brings another
    clock: Clock
    link_clock: LinkClock
    hostname: str
    size_max: int
    quarantine: Quarantine | None = None  # None: Validation is switched off
    _seen_ns: int = -1
    _looked: float = -1e9
    _rest_until: float = 0.0
    trouble: str = ""  # why nothing can be taken, as long as it lasts
    _hopeless: set[str] = field(default_factory=set)  # names that cannot even be moved

    async def run(self) -> None:
        """Until cancelled. Trouble with the folder is said once and does not end it."""
        while True:
            try:
                if self._is_due():
                    await self.look()
                    self.trouble = ""
            except OSError as error:
                words = f"mail of this machine's programs waits: {self.folder}: {error.strerror or error}"
                if not self.trouble:
                    maillog.warned(words)
                self.trouble = words
                self._rest()
            except Exception:
                maillog.failed("drop folder")
                self._rest_until = self.clock.monotonic() + REST_S
            await asyncio.sleep(LOOK_S)

    def _is_due(self) -> bool:
        """Whether the folder may have something new. One stat: a microsecond."""
        now = self.clock.monotonic()
        if now < self._rest_until:
            return False
        changed_ns = os.stat(self.folder).st_mtime_ns
        is_fresh = abs(self.clock.wall_ms() * 1_000_000 - changed_ns) < SETTLE_S * 1e9
        if changed_ns == self._seen_ns and not is_fresh and now - self._looked < WHOLE_LOOK_S:
            return False
        self._seen_ns, self._looked = changed_ns, now
        return True

    async def look(self) -> int:
        """Take all that is ready; how many messages."""
        names = await asyncio.to_thread(self._names)
        count = 0
        for at in range(0, len(names), AT_ONCE_MAX):
            taken = await asyncio.gather(*(self._take(n) for n in names[at : at + AT_ONCE_MAX]))
            count += sum(taken)
            if self._rest_until > self.clock.monotonic():
                break
        return count

    def _names(self) -> list[str]:
        """What is to be taken, in the order in which it was left; what was never finished goes aside."""
        found: list[tuple[int, str]] = []
        now_ns = self.clock.wall_ms() * 1_000_000
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name in self._hopeless:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    changed_ns = entry.stat(follow_symlinks=False).st_ctime_ns
                    if entry.name.startswith((READY_PREFIX, TAKEN_PREFIX)):
                        found.append((changed_ns, entry.name))
                    elif now_ns - changed_ns > _unfinished_ns(entry.name):
                        self._set_aside(entry.name, "nobody finished it")
        return [name for _, name in sorted(found)]

    async def _take(self, name: str) -> bool:
        """One file: into the spool, then away. False when it was not taken, or was taken before."""
        try:
            queue_id = await self._claim(name)
            taken = name = TAKEN_PREFIX + print_queue_id(queue_id)
            path = os.path.join(self.folder, taken)
            is_new = await self.spool.message(queue_id) is None
            if is_new:
                content_path = self.spool.content_path(queue_id)
                dropped = await asyncio.to_thread(read_drop, path, content_path, self.size_max)
                if self.quarantine is not None and dropped.verdict.refusal is not None:
                    await asyncio.to_thread(self._quarantine, queue_id, dropped, self.quarantine)
                else:
                    await self._accept(queue_id, dropped)
            await asyncio.to_thread(os.unlink, path)
            return is_new
        except DropFileError as error:
            await asyncio.to_thread(self._set_aside, name, str(error))
        except FileNotFoundError:
            pass  # whoever left it took it back
        except (SpoolError, OSError) as error:
            maillog.warned(f"drop folder: {name} waits there: {error}")
            self._rest()
        return False

    def _rest(self) -> None:
        self._rest_until = self.clock.monotonic() + REST_S
        self._seen_ns = -1

    async def _claim(self, name: str) -> QueueId:
        """The queue id of a file, which from now on stands in its name."""
        if name.startswith(TAKEN_PREFIX):
            return _claimed_id(name)
        queue_id = self.spool.new_queue_id()
        taken = os.path.join(self.folder, TAKEN_PREFIX + print_queue_id(queue_id))
        await asyncio.to_thread(os.rename, os.path.join(self.folder, name), taken)
        return queue_id

    async def _accept(self, queue_id: QueueId, dropped: Dropped) -> None:
        """Durable when it returns."""
        envelope, routing = dropped.envelope, self.routing()
        wall_ms = self.clock.wall_ms()
        content = self._with_trace(dropped, queue_id, wall_ms)
        await self.spool.accept(
            NewMessage(
                queue_id,
                envelope,
                content,
                tuple(routing.route(r.forward_path) for r in envelope.recipients),
                arrived_wall_ms=wall_ms,
                arrived_link_ms=self.link_clock.link_ms(),
                origin=f"{_user_name(dropped.uid)} by sendmail",
            )
        )
        self._log(queue_id, dropped, content)

    def _with_trace(self, dropped: Dropped, queue_id: QueueId, wall_ms: int) -> Content:
        """Our Received field on top (RFC 5321 §4.4)."""
        field = (
            f"Received: by {self.hostname} (CMail, from uid {dropped.uid})\r\n"
            f"\tid {print_queue_id(queue_id)}; {print_date(wall_ms)}\r\n"
        )
        prefix = field.encode("utf-8", "replace")
        content = dropped.content
        return replace(content, prefix=prefix, size_bytes=content.size_bytes + len(prefix))

    def _log(self, queue_id: QueueId, dropped: Dropped, content: Content) -> None:
        maillog.accepted(
            queue_id,
            client=maillog.client_text("localhost", f"uid {dropped.uid}"),
            helo="",
            protocol="local",
            message_id=dropped.message_id,
            reverse_path=dropped.envelope.reverse_path_text,
            size_bytes=content.size_bytes,
            recipients_count=len(dropped.envelope.recipients),
            service="pickup",
        )

    def _quarantine(self, queue_id: QueueId, dropped: Dropped, quarantine: Quarantine) -> None:
        """Validation would have refused it, and nobody is there any more who could be told. Durable when it
        returns."""
        refusal, content = dropped.verdict.refusal, dropped.content
        assert refusal is not None
        origin = f"{_user_name(dropped.uid)} by sendmail"
        kept = quarantine.keep(
            queue_id, dropped.envelope, content, dropped.verdict, origin, self.clock.wall_ms()
        )
        if content.path:
            durable.remove(content.path)
        maillog.warned(f"{kept.id}, left by {origin}, is in quarantine (cmail quarantine): {refusal.text}")

    def _set_aside(self, name: str, why: str) -> None:
        """Out of the way and kept, for a person to look at; said once, also when it cannot be moved."""
        kept = os.path.join(self.aside, f"drop-{name}")
        try:
            os.makedirs(self.aside, mode=0o700, exist_ok=True)
            os.rename(os.path.join(self.folder, name), kept)
            maillog.warned(f"drop folder: {name!a}: {why}; it is kept as {kept!a}")
        except FileNotFoundError:
            pass
        except OSError as error:
            if len(self._hopeless) < _HOPELESS_MAX:
                self._hopeless.add(name)
            maillog.warned(f"drop folder: {name!a}: {why}, and it cannot be set aside: {error}")


def _unfinished_ns(name: str) -> float:
    """How long a file may be there that is not ready; any other name is none of ours."""
    return LEFT_AFTER.total_seconds() * 1e9 if name.startswith(NEW_PREFIX) else SETTLE_S * 1e9


def _claimed_id(name: str) -> QueueId:
    try:
        return parse_queue_id(name.removeprefix(TAKEN_PREFIX))
    except ValueError:
        raise DropFileError("its name has no queue id") from None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
