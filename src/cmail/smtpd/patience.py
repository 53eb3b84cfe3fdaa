"""Patience: how long a session may be silent, without a log-in, or slow with its content."""

from dataclasses import dataclass

from cmail.mail import limits
from cmail.smtpd.settings import IntakeSettings


@dataclass(frozen=True, slots=True)
class Patience:
    """How long we wait for a client, in seconds (RFC 5321 §4.5.3.2.7)."""

    command_s: float
    login_s: float
    data_s: float
    data_rate: int  # octets of content a second, at the least

    @classmethod
    def of(cls, settings: IntakeSettings) -> "Patience":
        """As the settings say."""
        return cls(
            settings.command_timeout.total_seconds(),
            settings.login_timeout.total_seconds(),
            settings.data_timeout.total_seconds(),
            settings.data_rate,
        )

    def when_crowded(self) -> "Patience":
        """With a stranger, where room is short."""
        return Patience(
            min(self.command_s, limits.CROWDED_COMMAND_TIMEOUT_S),
            min(self.login_s, limits.CROWDED_COMMAND_TIMEOUT_S),
            min(self.data_s, limits.CROWDED_DATA_TIMEOUT_S),
            self.data_rate,
        )
