"""What went wrong with a connection to a server, and what to do about it, for who is no mail expert."""

import errno
import ssl
from typing import Final

from cmail.admin.certificates import SOON_DAYS, Certificate
from cmail.mail.reply import Reply

Said = tuple[str, str]  # what is, what to do

IMPLICIT_WORDS: Final = "TLS from the first byte"
STARTTLS_WORDS: Final = "STARTTLS, always"
_OFFLINE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.ENONET)
_BLOCKED_25: Final = (
    " Many Internet providers block port 25 outwards: ask yours to open it, or send through an upstream"
    " server at port 587."
)

# Of OpenSSL's X.509 verification.
_NOT_YET: Final = 9
_EXPIRED: Final = 10
_WRONG_NAME: Final = (62, 64)


def connection_trouble(error: Exception, host: str, port: int) -> Said:
    """No connection came about."""
    if isinstance(error, TimeoutError):
        advice = "A firewall on the way may block this port, or the server is away." + (
            _BLOCKED_25 if port == 25 else " Compare host and port with what your provider says."
        )
        return f"Nobody answered at port {port} of {host} within 10 seconds.", advice
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ECONNREFUSED:
        advice = (
            "Is Port Number right? 587 (STARTTLS) and 465 (TLS from the first byte) are usual where one logs"
            " in; 25 between servers."
        )
        return f"{host} is there, but nothing listens at its port {port}.", advice
    if number in _OFFLINE:
        return (
            f"There is no way from here to {host}: this machine seems to be off line.",
            "See to the line; mail waits meanwhile and does not get older.",
        )
    words = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    return f"No connection to port {port} of {host}: {words.lower()}.", "Compare host and port."


def silence(port: int, *, speaks_tls: bool) -> Said:
    """There is a connection, and no greeting."""
    if speaks_tls:
        return (
            f"The server is silent: at port {port} it waits for TLS from the first byte.",
            f"Choose Security: {IMPLICIT_WORDS}.",
        )
    return (
        "The connection is there, but nothing was said within 10 seconds.",
        "Something in between (a firewall, a virus scanner) may hold the connection, or the server is busy:"
        " try again in a minute.",
    )


def no_greeting(reason: str) -> Said:
    """It was closed, or what came is no SMTP."""
    return (
        f"This does not look like a mail server: {reason}.",
        "Compare host and port with what your provider says for sending mail (SMTP).",
    )


def greeting_refused(reply: Reply) -> Said:
    """The greeting is no welcome."""
    if reply.is_temporary:
        return f"The server does not take us just now: {reply}", "Try again in a few minutes."
    return (
        f"The server does not want us: {reply}",
        "It may not take mail from this address of ours. Ask who runs it, or send through your provider's"
        " server.",
    )


def handshake_trouble(error: Exception, port: int, *, speaks_plain: bool, is_implicit: bool) -> Said:
    """TLS did not come about, and not for the certificate."""
    if speaks_plain and is_implicit:
        return (
            f"The server does not begin with TLS at port {port}: it greets in the clear.",
            f"Choose Security: {STARTTLS_WORDS}; or port 465, where TLS comes first.",
        )
    return (
        f"No encryption came about: {tls_words(error)}.",
        "The server may be too old (TLS 1.2 is the least that we speak), or something in between changes what"
        " is said. Ask who runs the server.",
    )


def tls_words(error: Exception) -> str:
    """What OpenSSL says."""
    reason = getattr(error, "reason", None) or str(error) or type(error).__name__
    return str(reason).lower().replace("_", " ")


def no_starttls(*, is_required: bool) -> Said:
    """It does not offer what we want."""
    if is_required:
        return (
            "The server does not offer STARTTLS here, and Security demands it.",
            f"Try port 465 with {IMPLICIT_WORDS}. Only within your own network is less than that acceptable.",
        )
    return "The server does not offer encryption: mail would go in the clear.", ""


def certificate_trouble(error: ssl.SSLCertVerificationError, certificate: Certificate, host: str) -> Said:
    """Why it is not trusted."""
    code = getattr(error, "verify_code", 0)
    what = f"The certificate is for {certificate.names_words}, by {certificate.issuer}"
    if code in _WRONG_NAME:
        instead = next((name for name in certificate.names if "*" not in name), "")
        perhaps = f", perhaps {instead}" if instead else ""
        return f"{what}: not for {host}.", f"Write the name that your provider gives as SMTP Host{perhaps}."
    if code == _EXPIRED:
        return (
            f"{what}; it {certificate.days_words}.",
            "If the clock of this machine is right, who runs the server has to renew it.",
        )
    if code == _NOT_YET:
        return f"{what}; it does not hold yet.", "Is the clock of this machine right?"
    who = "vouches for itself" if certificate.is_self_signed else "is vouched for by nobody that we trust"
    return (
        f"{what}; it {who}.",
        "If the server is your own, name the file with its authority as ca_file under [tls] in cmail.toml, or"
        " choose encryption without verification within your own network.",
    )


def certificate_fine(certificate: Certificate, version: str) -> Said:
    """TLS is there, and the certificate is good."""
    words = (
        f"{version}. The certificate is for {certificate.names_words}, by {certificate.issuer}; it"
        f" {certificate.days_words}. It is verified."
    )
    is_soon = certificate.days_left() < SOON_DAYS
    return words, "Who runs the server should renew it soon." if is_soon else ""


def log_in_trouble(reply: Reply | None, reason: str, hint: str) -> Said:
    """The log-in failed."""
    if reply is None:
        return f"No log-in: {reason}.", "Choose Security with TLS; most servers take a password only then."
    if reply.is_temporary:
        return f"The server could not check the password just now: {reply}", "Try again in a few minutes."
    if reply.code == 534:
        advice = hint or "It wants an app password: make one on the web page of your provider."
        return f"This password is not enough for the server: {reply}", advice
    if reply.code in (530, 538):
        return f"The server wants encryption before a log-in: {reply}", f"Choose Security: {STARTTLS_WORDS}."
    advice = hint or (
        "Check user name (often the whole e-mail address) and password. Many providers want an app password,"
        " made on their web page, in place of the usual one."
    )
    return f"User name or password is not accepted: {reply}", advice


def sender_trouble(reply: Reply, sender: str, *, has_log_in: bool) -> Said:
    """It would not take our mail."""
    words = f"It does not take mail from <{sender}>: {reply}"
    if reply.is_temporary:
        return words, "Not just now: try again in a few minutes."
    if reply.code in (530, 550, 551, 553, 554) and not has_log_in:
        return words, "It may want a log-in: give user name and password."
    return words, "Many servers take mail only from addresses of the account: try your own address as sender."
