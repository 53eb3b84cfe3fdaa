"""Advanced SMTP Configuration: time-outs, sizes, MX, retries, limits; each with its sentence and a reset."""

from typing import Final

from starlette.routing import Route

from cmail.web.page import Pages
from cmail.web.pages.dialog import Dialog, Group, dialog_routes

DIALOG: Final = Dialog(
    "/advanced",
    "Advanced SMTP Configuration",
    "Everything here has a default that suits an office. Change it when you know why.",
    (
        Group(
            "Sending",
            "How connections to other servers are made and kept.",
            (
                "smtp.advanced.timeout",
                "smtp.advanced.fallback_to_host",
                "smtp.advanced.outbound_port",
                "smtp.advanced.connections",
                "smtp.advanced.messages_per_connection",
                "smtp.advanced.idle",
            ),
        ),
        Group(
            "When mail cannot be delivered at once",
            "It is tried again by itself. While the line is down no time counts.",
            ("queue.retry", "queue.lifetime", "queue.delay_notice", "queue.batch"),
        ),
        Group(
            "Timed Operations",
            "When mail for the Internet goes. Nothing set: at once. Mail for people here never waits.",
            (
                "exchange.every",
                "exchange.at",
                "exchange.messages",
                "exchange.oldest",
                "exchange.urgent",
                "exchange.longest",
            ),
        ),
        Group(
            "The line",
            "How it is seen whether the Internet is there. Links to the Internet has the ways to it by name.",
            ("link.probe", "link.probe_every", "link.small"),
        ),
        Group(
            "Receiving",
            "What may come in.",
            ("smtp.advanced.max_message_size", "smtp.advanced.refuse_unknown_users", "local.separator"),
        ),
        Group(
            "Limits of clients",
            "What one client, and all of them together, may take of us.",
            (
                "limits.sessions",
                "limits.sessions_per_address",
                "limits.connections_per_minute",
                "limits.messages_per_minute",
                "limits.recipients_per_minute",
                "limits.recipients",
                "limits.errors",
                "limits.idle_commands",
                "limits.login_failures_per_address",
                "limits.login_failures_per_account",
                "limits.login_timeout",
                "limits.command_timeout",
                "limits.data_timeout",
                "limits.data_rate",
                "limits.handshakes",
                "limits.future_release",
                "limits.deliver_by",
                "limits.free_space",
            ),
        ),
        Group(
            "Log",
            "What the page Log can show of the past, and how the log is written.",
            ("log.keep", "log.keep_size", "log.format"),
        ),
        Group(
            "This machine",
            "What the server asks and runs with. Folders and files of its own are named in cmail.toml alone.",
            (
                "dns.servers",
                "checks.time_servers",
                "checks.port25_domain",
                "admin.address",
                "host.workers",
            ),
        ),
    ),
)


def routes(pages: Pages) -> list[Route]:
    """/advanced."""
    return dialog_routes(pages, DIALOG)
