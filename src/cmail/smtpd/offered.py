"""What EHLO offers of wishes.py, to whom, and the bounds that it names."""

from typing import Final

from cmail.protocol.smtp.extensions import SUBMISSION_KINDS, Kind
from cmail.protocol.smtp.scheduling import SECONDS_MAX, scheduling_keywords
from cmail.smtpd.settings import IntakeSettings

HOUR_MS: Final = 3_600_000  # what FUTURERELEASE names as the latest time is no older


def is_offered(kind: Kind, *, is_logged_in: bool, may_relay: bool) -> bool:
    """At a submission listener also before the log-in: few say EHLO again after it."""
    return kind in SUBMISSION_KINDS or (kind == "smtp" and (is_logged_in or may_relay))


def hold_max_s(limits: IntakeSettings) -> int:
    """How long a message may be held for its sender."""
    return min(SECONDS_MAX, int(limits.future_release.total_seconds()))


def by_min_s(limits: IntakeSettings) -> int:
    """The shortest deadline that is taken where late mail is to be returned."""
    return min(SECONDS_MAX, int(limits.deliver_by.total_seconds()))


def offered_wishes(limits: IntakeSettings, now_ms: int) -> tuple[str, ...]:
    """The keywords."""
    return scheduling_keywords(hold_max_s(limits), now_ms, by_min_s(limits))
