"""Judge of the storm: what arrived, who was killed when; what is lost, and which second copies a kill excuses.

A copy may come twice only when the next hop (or the mailbox) had taken it just before its worker was killed: said
250, and the record of that was in no commit yet. Any other second copy is a fault."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from cmail.mail.queue_id import SEQUENCE_BITS, SHARDS_MAX, parse_queue_id
from tests.support.ledger import Acknowledged

# Between a next hop's 250 and the commit of its record: milliseconds; a busy machine gets more.
WINDOW_S: Final = 3.0
# Twice after one kill, messages of one shard. A worker has 10 connections of the 20 to a next hop, each with
# at most 8 messages whose reply waits; a record waits for one commit.
TWICE_MAX: Final = 80


@dataclass(frozen=True)
class Copy:
    """One message that arrived for one recipient."""

    tag: str
    queue_id: str
    recipient: str
    wall: float  # when its taker took it
    is_whole: bool  # octet for octet what was sent, below what the server puts on top
    connected: float | None = None  # when the connection was made that brought it

    @property
    def shard(self) -> int:
        """Whose mail it is."""
        return parse_queue_id(self.queue_id) >> SEQUENCE_BITS & SHARDS_MAX - 1


@dataclass(frozen=True)
class Kill:
    """SIGKILL to processes, and which shards lost their worker by it."""

    what: str
    shards: frozenset[int]
    wall: float  # just before
    gone: float  # they are no more


@dataclass
class Verdict:
    """How a storm on one path ended; counts are messages, but for the last two."""

    accepted: int = 0
    delivered: int = 0
    in_queue: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: int = 0  # with a copy too many, all excused by a kill or in `broken`
    unanswered: int = 0  # arrived though its client was told nothing
    twice_max: int = 0  # after one kill, of one shard
    late_s: float = 0.0  # the longest between a first copy and the kill that excuses the second
    broken: list[str] = field(default_factory=list)


def verdict(
    acknowledged: Mapping[str, Acknowledged],
    sent: Iterable[str],
    copies: Sequence[Copy],
    kills: Sequence[Kill],
    queued: Iterable[tuple[str, str]] = (),
) -> Verdict:
    """What became of all that was sent; `queued` are queue ids and recipients."""
    found = Verdict(accepted=len(acknowledged))
    _count(found, acknowledged, copies, set(queued))
    _judge_copies(found, acknowledged, set(sent), copies)
    _judge_twice(found, copies, kills)
    return found


def _count(
    found: Verdict,
    acknowledged: Mapping[str, Acknowledged],
    copies: Sequence[Copy],
    queued: set[tuple[str, str]],
) -> None:
    """A message is delivered when all of its recipients have it, and lost when one is nowhere."""
    there = {(copy.tag, copy.recipient) for copy in copies}
    for tag, one in acknowledged.items():
        missing = [each for each in one.recipient.split(",") if (tag, each) not in there]
        lost = [each for each in missing if (one.queue_id, each) not in queued]
        found.lost += [f"{tag} {one.queue_id} to {each}" for each in lost]
        found.delivered += not missing
        found.in_queue += bool(missing) and not lost
    found.unanswered = len({copy.tag for copy in copies} - acknowledged.keys())


def _judge_copies(
    found: Verdict, acknowledged: Mapping[str, Acknowledged], sent: set[str], copies: Sequence[Copy]
) -> None:
    """Each is whole, was sent, and was accepted once: under the queue id that its client was told."""
    ids: dict[str, set[str]] = defaultdict(set)
    for copy in copies:
        ids[copy.tag].add(copy.queue_id)
        if not copy.is_whole:
            found.broken.append(f"{copy.tag} to {copy.recipient} is not what was sent")
        if copy.tag not in sent:
            found.broken.append(f"{copy.tag} to {copy.recipient} was sent by nobody")
    for tag, its in ids.items():
        told = acknowledged.get(tag)
        if len(its) > 1 or (told is not None and its != {told.queue_id}):
            found.broken.append(f"{tag} was accepted as {told and told.queue_id}, arrived as {sorted(its)}")


def _judge_twice(found: Verdict, copies: Sequence[Copy], kills: Sequence[Kill]) -> None:
    """For each second copy the kill that excuses it; how many each kill excuses."""
    by_recipient: dict[tuple[str, str], list[Copy]] = defaultdict(list)
    for copy in copies:
        by_recipient[copy.queue_id, copy.recipient].append(copy)
    twice: set[str] = set()
    excused: Counter[tuple[int, int]] = Counter()
    seen: set[tuple[int, str]] = set()
    for its in by_recipient.values():
        its.sort(key=lambda copy: copy.wall)
        for first, second in pairwise(its):
            twice.add(first.tag)
            number = next((n for n, kill in enumerate(kills) if excuses(kill, first, second)), None)
            if number is None:
                found.broken.append(_unexcused(first, second, kills))
            elif (number, first.tag) not in seen:
                seen.add((number, first.tag))
                excused[number, first.shard] += 1
                found.late_s = max(found.late_s, kills[number].wall - first.wall)
    found.duplicated = len(twice)
    found.twice_max = max(excused.values(), default=0)
    for (number, shard), count in excused.items():
        if count > TWICE_MAX:
            found.broken.append(
                f"{count} messages of shard {shard} twice after one kill ({kills[number].what})"
            )


def excuses(kill: Kill, first: Copy, second: Copy) -> bool:
    """Whether its worker was killed when it could not have recorded the first copy yet, and another
    connection than one of that worker brought the second."""
    return (
        first.shard in kill.shards
        and kill.wall - WINDOW_S <= first.wall <= kill.gone + WINDOW_S  # the taker may be slow
        and (first.connected is None or first.connected <= kill.gone)
        and (second.connected is None or second.connected >= kill.wall)
        and second.wall >= kill.wall
    )


def _unexcused(first: Copy, second: Copy, kills: Sequence[Kill]) -> str:
    near = min(
        (kill for kill in kills if first.shard in kill.shards),
        key=lambda kill: abs(kill.wall - first.wall),
        default=None,
    )
    when = (
        f"{near.what} was killed {near.wall - first.wall:+.3f} s from the first" if near else "no kill at all"
    )
    return f"{first.tag} {first.queue_id} to {first.recipient} twice, {second.wall - first.wall:.3f} s apart: {when}"
