"""What is wrong with their server or the way there; and what is left, only numbers."""

from collections.abc import Sequence
from typing import Final

from cmail.admin.words.row import Row, Whose

_SMTP: Final = "/smtp"

# Their server, the way there.
SERVER: Final[Sequence[Row]] = (
    Row(
        "connection refused",
        Whose.THEIRS,
        "Their server does not take connections: it is switched off, or something in between refuses them.",
        "If it goes on, ask whoever runs it, check the port in SMTP Configuration, and that no firewall"
        " stands in the way.",
        _SMTP,
        "If it goes on, ask whoever runs it, check port in [smtp], and that a firewall lets us out.",
        ("connection refused", "there is no such socket", "no such file or directory"),
    ),
    Row(
        "no answer",
        Whose.THEIRS,
        "Their server did not answer.",
        "If it goes on: is the line slow (Socket Timeout in Advanced SMTP Configuration)? Does the provider"
        " or a firewall let port 25 out? Checks looks.",
        "/checks",
        "If it goes on: is the line slow ([smtp.advanced] timeout)? Does a firewall let us out?",
        ("timed out", "no reply in time", "did not answer", "no answer from host", "time-out", "timeout"),
        ("x.4.1",),
    ),
    Row(
        "no mail server there",
        Whose.THEIRS,
        "What answers there is no mail server, or one that does not keep to the rules.",
        "Check name and port in SMTP Configuration. If they are right, tell whoever runs that server.",
        _SMTP,
        "Check host and port in [smtp]. If they are right, tell whoever runs that server.",
        ("this is no smtp reply", "reply that is none", "the server said more than it was asked",
         "a reply to nothing", "out of order", "octets behind the reply", "before its end"),
    ),
    Row(
        "their disk full",
        Whose.THEIRS,
        "Their server has no room for mail just now.",
        "If it goes on, tell whoever runs that server.",
        phrases=("insufficient system storage", "insufficient storage", "insufficient disk", "disk full",
                 "disk is full", "out of disk", "insufficient space", "not enough disk",
                 "mail system full"),
        statuses=("x.3.1",),
        replies=("452",),
    ),
    Row(
        "hung up",
        Whose.THEIRS,
        "Their server hung up in the middle.",
        "If it goes on, tell whoever runs that server.",
        phrases=("closed the connection", "connection was lost", "connection reset", "broken pipe",
                 "connection ended", "connections end before", "connection closed", "connection dropped",
                 "lost connection", "hung up", "reset by peer"),
        statuses=("x.4.2",),
    ),
    Row(
        "busy",
        Whose.THEIRS,
        "Their server is busy, or closed for a while.",
        "",
        phrases=("server busy", "system busy", "too busy", "service not available", "service unavailable",
                 "service temporarily unavailable", "closing transmission channel", "not accepting",
                 "load average", "overload", "maintenance", "shutting down", "insufficient resources",
                 "resources temporarily unavailable", "out of resources", "resources unavailable"),
        statuses=("x.3.2", "x.4.5", "4.7.500"),
        replies=("421",),
    ),
    Row(
        "their trouble",
        Whose.THEIRS,
        "Something is wrong in their server.",
        "If it goes on, tell whoever runs that server.",
        phrases=("local error", "internal error", "configuration error", "local problem",
                 "configuration problem", "internal server error", "system problem",
                 "queue file write error",
                 "local configuration"),
        statuses=("x.3.0", "x.3.3", "x.3.5"),
    ),
    Row(
        "not understood",
        Whose.THEIRS,
        "Their server did not understand what we said, or does not do what was asked.",
        "If it stays so, please report it with the raw words.",
        phrases=("command not implemented", "command unrecognized", "unrecognized command", "bad sequence"),
        statuses=("x.5.0", "x.5.1", "x.5.2", "x.5.4", "x.5.5", "x.5.6"),
        replies=("500", "501", "502", "503", "504", "555"),
    ),
)  # fmt: skip

# What is left: only numbers.
NUMBERS: Final[Sequence[Row]] = (
    Row(
        "policy",
        Whose.THEIRS,
        "Their server does not want this message, by a rule of theirs.",
        "The raw words may say which rule. Checks shows whether your domain is set up as others expect it.",
        "/checks",
        "The reason may say which rule. Ask whoever runs that server.",
        ("policy", "not authorized", "access denied", "prohibited", "message refused",
         "transaction failed"),
        ("5.7.0", "5.7.1"),
        ("554", "5@the greeting"),
    ),
    Row(
        "temporary refusal",
        Whose.THEIRS,
        "Their server does not take it just now, and says so for now only.",
        "",
        phrases=("try again later", "temporarily", "temporary"),
        replies=("4",),
    ),
    Row(
        "refused",
        Whose.THEIRS,
        "Their server has refused it for good.",
        "The raw words may say why; ask the recipient another way.",
        replies=("5",),
    ),
)  # fmt: skip
