"""The certificate on Host Configuration: what is, and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass

from cmail.admin.certificates import SOON_DAYS, Certificate
from cmail.web.desk import SettingView


@dataclass(frozen=True, slots=True)
class CertificateView:
    """As it is shown. `advice` is "" when there is nothing to do."""

    certificate: Certificate | None
    kind: str  # good | warn | error: a class of the style
    words: str
    advice: str
    where: str


def certificate_view(certificate: Certificate | None, settings: Mapping[str, SettingView]) -> CertificateView:
    """What is to be said of the certificate that clients are shown."""
    named = str(settings["tls.certificate_file"].saved)
    hostname = str(settings["host.hostname"].saved).lower()
    where = f"From {named}, as [tls] in cmail.toml says." if named else "Made by this server itself."
    kind, words, advice = _judge(certificate, hostname, is_own=not named)
    return CertificateView(certificate, kind, words, advice, where)


def _judge(certificate: Certificate | None, hostname: str, *, is_own: bool) -> tuple[str, str, str]:
    if certificate is None:
        return "error", "None can be seen: encryption is not offered.", "The log says why."
    days = certificate.days_left()
    if days < 0:
        return "error", f"It {certificate.days_words}.", _renew(is_own=is_own)
    if is_own:
        return (
            "warn",
            "It vouches for itself. Other servers do not mind; mail programs of people here warn of it.",
            "Get a certificate for the host name (for example of Let's Encrypt), name certificate_file and"
            " key_file under [tls] in cmail.toml; then `systemctl reload cmail` (SIGHUP).",
        )
    if not certificate.is_for(hostname):
        return (
            "error",
            f"It is not for {hostname}, the host name: mail programs that check it refuse.",
            f"Get one that names {hostname}, or give the server one of its names as host name.",
        )
    if days < SOON_DAYS:
        return "warn", f"It {certificate.days_words}.", _renew(is_own=False)
    return "good", f"It is for {hostname} and {certificate.days_words}.", ""


def _renew(*, is_own: bool) -> str:
    if is_own:
        return "Start the server again: it makes a new one. Is the clock of this machine right?"
    return "Renew it where it came from; then `systemctl reload cmail` (SIGHUP), and the new one is in use."
