"""What a setting is called on the page, and its choices in words."""

from collections.abc import Mapping
from typing import Final

LABELS: Final[Mapping[str, str]] = {
    "host.hostname": "Host name",
    "host.domains": "Domains",
    "host.data_dir": "Data folder",
    "host.user": "Runs as the user",
    "host.workers": "Worker processes",
    "listener": "Where mail comes in",
    "forward": "Domains that another server has",
    "site": "Sites: servers that come and go, for which mail is kept here",
    "collect": "Mailboxes elsewhere, from which mail is fetched",
    "link.kick": "Kicks: who is asked to send what waits there for us",
    "link.via": "Links to the Internet, and what may use each",
    "link.probe": "Where a connection is tried",
    "link.probe_every": "How often, while in doubt",
    "link.small": "What counts as small mail",
    "exchange.every": "An exchange every",
    "exchange.at": "At these times and in these windows",
    "exchange.messages": "When so many messages wait",
    "exchange.oldest": "When the oldest has waited",
    "exchange.urgent": "At once for urgent mail",
    "exchange.longest": "An exchange lasts at most",
    "relay.networks": "Networks that may send anywhere",
    "limits.sessions": "Sessions at once",
    "limits.sessions_per_address": "Sessions of one address",
    "limits.connections_per_minute": "New connections of one address a minute",
    "limits.messages_per_minute": "Messages of one address a minute",
    "limits.recipients_per_minute": "Recipients of one address a minute",
    "limits.recipients": "Recipients of one message",
    "limits.errors": "Errors in a session",
    "limits.idle_commands": "Commands without a message",
    "limits.login_failures_per_address": "Failed log-ins of one address",
    "limits.login_failures_per_account": "Failed log-ins of one account",
    "limits.login_timeout": "Time to log in",
    "limits.command_timeout": "Time for a command",
    "limits.data_timeout": "Time without content",
    "limits.data_rate": "Least speed of content",
    "limits.handshakes": "TLS handshakes at once",
    "limits.future_release": "Mail may be handed in so far ahead",
    "limits.deliver_by": "Shortest deadline",
    "limits.free_space": "Space that stays free",
    "smtp.delivery": "How mail goes out",
    "smtp.host": "SMTP Host",
    "smtp.port": "Port Number",
    "smtp.tls": "Security",
    "smtp.username": "User name",
    "smtp.password_file": "Password",
    "smtp.kick": "Kick SMTP server on connection to the Internet",
    "smtp.trigger_port": "Trigger Port",
    "smtp.validation": "Validation",
    "smtp.advanced.timeout": "Socket Timeout",
    "smtp.advanced.max_message_size": "Max incoming size",
    "smtp.advanced.fallback_to_host": "Fallback to SMTP host if MX fails",
    "smtp.advanced.outbound_port": "Outbound SMTP Port",
    "smtp.advanced.refuse_unknown_users": "Refuse message if user unknown",
    "smtp.advanced.connections": "Connections to one next hop",
    "smtp.advanced.messages_per_connection": "Messages on one connection",
    "smtp.advanced.idle": "Keep a connection for",
    "queue.lifetime": "Lifetime",
    "queue.batch": "Batch Mail for Delivery",
    "queue.retry": "Retry schedule",
    "queue.delay_notice": "Delay notice after",
    "local.delivery": "Where mail for people here goes",
    "local.lmtp": "LMTP server",
    "local.separator": "Separator of plus addresses",
    "tls.certificate_file": "Certificate file",
    "tls.key_file": "Key file",
    "tls.ca_file": "Trusted authorities",
    "dns.servers": "Name servers",
    "log.format": "Format of the log",
    "log.file": "Log file",
    "log.keep": "Keep the log for",
    "log.keep_size": "Most room for the log",
    "admin.address": "Address of this page",
    "checks.time_servers": "Time servers",
    "checks.port25_domain": "Domain to try port 25 with",
}

CHOICES: Final[Mapping[tuple[str, str], str]] = {
    ("smtp.delivery", "smarthost"): "Through an upstream server (SMTP Host)",
    ("smtp.delivery", "mx"): "By MX resolution: straight to the server of each recipient's domain",
    ("smtp.tls", "none"): "None: everything can be read on the way",
    ("smtp.tls", "opportunistic"): "Encrypted when the server can (STARTTLS), not verified",
    ("smtp.tls", "required"): "STARTTLS, always; the certificate is verified (often port 587)",
    ("smtp.tls", "implicit"): "TLS from the first byte; the certificate is verified (often port 465)",
    ("local.delivery", "maildir"): "Into mailboxes on this machine",
    ("local.delivery", "lmtp"): "To an LMTP server",
    ("log.format", "postfix"): "As Postfix writes it",
    ("log.format", "json"): "JSON, one object a line",
}


def label(key: str) -> str:
    """The words of a setting; a key without any is shown as it stands in the file."""
    return LABELS.get(key, key)


def choice_words(key: str, value: str) -> str:
    """The words of a choice."""
    return CHOICES.get((key, value), value)
