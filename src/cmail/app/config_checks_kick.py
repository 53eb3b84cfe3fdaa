"""Checks of [[link.kick]]: what its steps say, and whether each has what its method needs."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from cmail.app.config_checks_collect import by_challenge
from cmail.delivery.settings import SmtpSettings
from cmail.link.kicks.target import is_one_line
from cmail.link.kicks.texts import atrn_line, etrn_argument, unescape
from cmail.link.settings import KickSettings
from cmail.mail.address import AddressSyntaxError, parse_domain
from cmail.settings import Say, has_port, parse_endpoint

STEPS_MAX: Final = 20
REPEAT_MAX: Final = 100
_WAITS: Final = (timedelta(seconds=1), timedelta(hours=1))
_LOG_IN: Final = ("etrn", "atrn")


def check_kicks(kicks: Sequence[KickSettings], smtp: SmtpSettings, say: Say) -> None:
    """Each step of the plan."""
    if len(kicks) > STEPS_MAX:
        say("link.kick", f"a plan has {STEPS_MAX} steps at most")
    for number, kick in enumerate(kicks, 1):
        _check(f"link.kick[{number}]", kick, smtp, say)


def kick_notes(kicks: Sequence[KickSettings]) -> list[str]:
    """What is allowed and yet worth a word."""
    return [
        f'link.kick number {number}: tls = "{kick.tls}": its server is not verified, and it is sent a'
        f' password{by_challenge(kick.tls)}; "required" (or "implicit") is safer.'
        for number, kick in enumerate(kicks, 1)
        if kick.username and kick.tls in ("none", "opportunistic")
    ]


def _check(key: str, kick: KickSettings, smtp: SmtpSettings, say: Say) -> None:
    if kick.method == "command":
        _check_command(key, kick, say)
    else:
        _check_host(key, kick, smtp, say)
        if kick.command:
            say(f"{key}.command", f'is for method = "command", not "{kick.method}"', "")
    if not 0 <= kick.port < 65536:
        say(f"{key}.port", "must be a port: 1 to 65535, or 0 for the usual one")
    if not 0 <= kick.repeat <= REPEAT_MAX:
        say(f"{key}.repeat", f"must be 0 to {REPEAT_MAX}")
    if not _WAITS[0] <= kick.wait <= _WAITS[1]:
        say(f"{key}.wait", "must be 1s to 1h")
    _check_text(key, kick, say)
    _check_log_in(key, kick, say)


def _check_command(key: str, kick: KickSettings, say: Say) -> None:
    if not kick.command:
        say(f"{key}.command", 'must name the program, because method = "command"')
    elif not kick.command[0].startswith("/"):
        say(f"{key}.command", f'"{kick.command[0]}" must be the whole path of a program')


def _check_host(key: str, kick: KickSettings, smtp: SmtpSettings, say: Say) -> None:
    if not kick.host:
        if not smtp.host:
            say(f"{key}.host", "is empty, and so is smtp.host: there is nobody to kick")
        return
    try:
        endpoint = parse_endpoint(kick.host, 25)
        is_address = ":" in endpoint.host or endpoint.host.replace(".", "").isdigit()
        if endpoint.path or has_port(kick.host):
            say(f"{key}.host", f'"{kick.host}" must be a host alone; its port stands in port')
        elif not is_address:
            parse_domain(endpoint.host)
    except (ValueError, AddressSyntaxError):
        say(f"{key}.host", f'"{kick.host}" is not a host')


def _check_text(key: str, kick: KickSettings, say: Say) -> None:
    """As the method will send it."""
    if not kick.text:
        if kick.method == "string":
            say(f"{key}.text", 'must be what is to be said, because method = "string"')
        return
    try:
        if kick.method == "etrn":
            etrn_argument(kick.text)
        elif kick.method == "atrn":
            atrn_line(kick.text)
        elif kick.method == "string":
            unescape(kick.text)
        elif not is_one_line(kick.text):
            raise ValueError("it must be one line of ASCII")
    except ValueError as error:
        say(f"{key}.text", f'"{kick.text}": {error}')


def _check_log_in(key: str, kick: KickSettings, say: Say) -> None:
    if kick.method not in _LOG_IN:
        if kick.username or kick.password_file:
            say(f"{key}.username", f"there is a log-in for etrn and atrn alone, not for {kick.method}", "")
        return
    if kick.method == "atrn" and not kick.username:
        say(f"{key}.username", "atrn needs a log-in (RFC 2645 §5.2)")
    if kick.username and not kick.password_file:
        say(f"{key}.password_file", "is missing: there is a username")
    if kick.password_file and not kick.username:
        say(f"{key}.username", "is empty, but there is a password_file")
