"""Quarantine: mail that failed Validation and came on a way that cannot refuse, until a person decides.

DATA/quarantine/ID/ has `facts.json` (envelope, defects, how it came), `content` (plain octets) and, once it
was repaired, `original`. All of it blocks: call it from a thread."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, BinaryIO, Final

from cmail.mail.address import parse_address
from cmail.mail.content import Content, Unstuffer, unstuff
from cmail.mail.envelope import Envelope, Notify, Recipient
from cmail.mail.headers import header_of
from cmail.mail.limits import HEADER_OCTETS_MAX
from cmail.mail.queue_id import QueueId, parse_queue_id, print_queue_id
from cmail.policy.validation.examine import Examination
from cmail.policy.validation.repair import CLOSED, missing_end, repair_header
from cmail.policy.validation.rules import RULES, Defect, Verdict
from cmail.storage import durable

FOLDER: Final = "quarantine"
KEPT_FOR: Final = timedelta(days=30)  # then it is removed
_FACTS, _CONTENT, _ORIGINAL, _REPAIRED = "facts.json", "content", "original", "repaired"
_NEW: Final = ".new-"  # not whole yet
_LEFT_AFTER_MS: Final = 86_400_000
_PIECE: Final = 256 * 1024
_FACTS_OCTETS_MAX: Final = 16 * 2**20


class QuarantineError(Exception):
    """It cannot be done; says why, in words for a person."""


class NotThereError(QuarantineError):
    """There is no such message in quarantine."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One message in quarantine."""

    queue_id: QueueId
    envelope: Envelope
    kept_ms: int  # wall time
    origin: str  # how it came, for people
    size_bytes: int
    defects: tuple[Defect, ...]
    repairs: tuple[str, ...] = ()  # what was done to it

    @property
    def id(self) -> str:
        """As it is printed."""
        return print_queue_id(self.queue_id)

    @property
    def removed_ms(self) -> int:
        """When it goes by itself."""
        return self.kept_ms + int(KEPT_FOR.total_seconds() * 1000)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a repair would do."""

    done: tuple[str, ...]  # in words; nothing: no repair is safe
    head_before: bytes
    head_after: bytes
    defects_left: tuple[Defect, ...]


class Quarantine:
    """Of one data folder."""

    def __init__(self, data_dir: str) -> None:
        self.folder = os.path.join(data_dir, FOLDER)

    def keep(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        content: Content,
        verdict: Verdict,
        origin: str,
        now_ms: int,
    ) -> Kept:
        """Durable when it returns. What is there already under this id is left as it is."""
        kept = Kept(queue_id, envelope, now_ms, origin, content.size_bytes, verdict.defects)
        folder = os.path.join(self.folder, kept.id)
        if os.path.isdir(folder):
            return self.get(kept.id)
        written = os.path.join(self.folder, _NEW + kept.id)
        durable.make_folder(self.folder)
        shutil.rmtree(written, ignore_errors=True)
        os.mkdir(written, 0o700)
        try:
            _write_content(os.path.join(written, _CONTENT), content)
            durable.write_new(os.path.join(written, _FACTS), _print(kept))
            durable.sync_folder(written)
            os.rename(written, folder)
            durable.sync_folder(self.folder)
        except OSError:
            shutil.rmtree(written, ignore_errors=True)
            raise
        return kept

    def all_kept(self) -> list[Kept]:
        """All of them, the newest first. What is damaged is left out (damaged() names it)."""
        found = [self._try(name) for name in self._names()]
        return sorted((each for each in found if each), key=lambda each: (-each.kept_ms, -each.queue_id))

    def count(self) -> int:
        """How many there are."""
        return len(self._names())

    def damaged(self) -> Sequence[str]:
        """Ids of which nothing is known any more."""
        return [name for name in self._names() if self._try(name) is None]

    def get(self, text: str) -> Kept:
        """One of them. NotThereError; QuarantineError when it is damaged."""
        path = os.path.join(self._path(text), _FACTS)
        try:
            with open(path, "rb") as file:
                return _parse(file.read(_FACTS_OCTETS_MAX))
        except FileNotFoundError:
            raise NotThereError(f"{text} is not in quarantine") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise QuarantineError(f"{path} is damaged: {error}") from None

    def open(self, text: str) -> BinaryIO:
        """Its octets, plain."""
        try:
            return open(os.path.join(self._path(text), _CONTENT), "rb")
        except FileNotFoundError:
            raise NotThereError(f"{text} is not in quarantine") from None

    def head(self, text: str, octets: int) -> bytes:
        """The first of its octets."""
        with self.open(text) as file:
            return file.read(octets)

    def remove(self, text: str) -> None:
        """It is gone, for good."""
        folder = self._path(text)
        gone = os.path.join(self.folder, _NEW + os.path.basename(folder))
        try:
            os.rename(folder, gone)  # a crash half-way leaves no half of it
        except FileNotFoundError:
            raise NotThereError(f"{text} is not in quarantine") from None
        durable.sync_folder(self.folder)
        shutil.rmtree(gone, ignore_errors=True)

    def sweep(self, now_ms: int) -> Sequence[str]:
        """Remove what is older than 30 days, and what a crash has left; the ids of the first."""
        gone = []
        for each in self.all_kept():
            if each.removed_ms <= now_ms:
                with contextlib.suppress(NotThereError):  # somebody was quicker
                    self.remove(each.id)
                    gone.append(each.id)
        for name in self._names(_NEW):
            path = os.path.join(self.folder, name)
            with contextlib.suppress(OSError):
                if now_ms - os.stat(path).st_mtime_ns // 1_000_000 > _LEFT_AFTER_MS:
                    shutil.rmtree(path, ignore_errors=True)
        return gone

    def plan(self, text: str) -> Plan:
        """What repair() would do, without doing it."""
        return self._repair(self.get(text), None)

    def repair(self, text: str) -> Kept:
        """Repair it as plan() says; the octets of before stay beside it. QuarantineError: nothing is safe."""
        kept, folder = self.get(text), self._path(text)
        path = os.path.join(folder, _REPAIRED)
        durable.remove(path)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(fd, "wb") as out:
                plan = self._repair(kept, out)
            if not plan.done:
                raise QuarantineError("nothing of it can be repaired safely")
            durable.sync_file(path)
        except (OSError, QuarantineError):
            durable.remove(path)
            raise
        content, original = os.path.join(folder, _CONTENT), os.path.join(folder, _ORIGINAL)
        if not os.path.exists(original):
            os.link(content, original)
        os.replace(path, content)
        durable.sync_folder(folder)
        size = os.stat(content).st_size
        repaired = replace(kept, size_bytes=size, defects=plan.defects_left, repairs=kept.repairs + plan.done)
        durable.write_durably(os.path.join(folder, _FACTS), _print(repaired))
        return repaired

    def _repair(self, kept: Kept, out: BinaryIO | None) -> Plan:
        reverse_path = kept.envelope.reverse_path
        with self.open(kept.id) as file:
            first = file.read(HEADER_OCTETS_MAX + _PIECE)
            before = header_of(first)
            if len(before) > HEADER_OCTETS_MAX:
                return Plan((), before[:HEADER_OCTETS_MAX], before[:HEADER_OCTETS_MAX], kept.defects)
            mended = repair_header(before, author=reverse_path.text if reverse_path else "")
            done, after = list(mended.done), header_of(mended.octets)
            examination = Examination(is_report=reverse_path is None, is_utf8=kept.envelope.is_smtputf8)
            examination.begin(after)
            for piece in _pieces(mended.octets + first[len(before) :], file):
                examination.feed(piece)
                if out is not None:
                    out.write(piece)
        verdict = examination.finish()
        end = missing_end(after, verdict)
        if end:
            done.append(CLOSED)
            if out is not None:
                out.write(end)
            left = tuple(each for each in verdict.defects if each.rule.name != "boundary-not-closed")
            verdict = Verdict(left)
        return Plan(tuple(done), before, after, verdict.defects)

    def _path(self, text: str) -> str:
        """The one place that makes a path of an id (rule 16)."""
        try:
            return os.path.join(self.folder, print_queue_id(parse_queue_id(text)))
        except ValueError:
            raise NotThereError(f"{text[:40]!a} is not in quarantine") from None

    def _names(self, prefix: str = "") -> list[str]:
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return [n for n in names if (n.startswith(prefix) if prefix else not n.startswith("."))]

    def _try(self, name: str) -> Kept | None:
        try:
            return self.get(name)
        except QuarantineError:
            return None


def _pieces(first: bytes, file: BinaryIO) -> Iterable[bytes]:
    yield first
    while piece := file.read(_PIECE):
        yield piece


def _write_content(path: str, content: Content) -> None:
    """Its plain octets, synced; prefix and dots that the wire needs are left out."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as out:
        if content.is_in_memory:
            out.write(unstuff(content.octets))
        else:
            plain = Unstuffer()
            with open(content.path, "rb") as file:
                while piece := file.read(_PIECE):
                    out.write(plain.feed(piece))
            out.write(plain.finish())
        out.flush()
        os.fsync(out.fileno())


def _print(kept: Kept) -> bytes:
    return json.dumps(
        {
            "id": kept.id,
            "kept_ms": kept.kept_ms,
            "origin": kept.origin,
            "size": kept.size_bytes,
            **kept.envelope.fields(),
            "defects": [{"rule": each.rule.name, "about": each.about} for each in kept.defects],
            "repairs": list(kept.repairs),
        }
    ).encode()


def _parse(octets: bytes) -> Kept:
    table: dict[str, Any] = json.loads(octets)
    recipients = tuple(
        Recipient(parse_address(each["address"].encode()), each["orcpt"], Notify(each["notify"]))
        for each in table["to"]
    )
    envelope = Envelope(
        parse_address(table["from"].encode()) if table["from"] else None,
        recipients,
        ret=table["ret"],
        envid=table["envid"],
        is_smtputf8=table["smtputf8"],
        is_8bit=table["body8bit"],
    )
    return Kept(
        parse_queue_id(table["id"]),
        envelope,
        int(table["kept_ms"]),
        str(table["origin"]),
        int(table["size"]),
        # A rule that this version does not know any more is left out: the message is judged again anyway.
        tuple(
            Defect(RULES[each["rule"]], each["about"]) for each in table["defects"] if each["rule"] in RULES
        ),
        tuple(table["repairs"]),
    )
