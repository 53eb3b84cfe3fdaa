"""Checks of [[collect]]: what its accounts say, and whether each can be told from the others."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from cmail.link.collect.box import box_name
from cmail.link.settings import CollectSettings
from cmail.mail.address import AddressSyntaxError, parse_address, parse_domain
from cmail.settings import Say, has_port, parse_endpoint

ACCOUNTS_MAX: Final = 200
NAME_MAX: Final = 40
LARGEST_MIN: Final = 1024
_EVERY: Final = (timedelta(seconds=10), timedelta(days=7))
_IN_NAMES: Final = frozenset("-_.")


def check_collects(accounts: Sequence[CollectSettings], is_taken: Callable[[str], bool], say: Say) -> None:
    """Each account. `is_taken`: whether mail for a domain is taken here."""
    if len(accounts) > ACCOUNTS_MAX:
        say("collect", f"mail is collected from {ACCOUNTS_MAX} mailboxes at most")
    names: set[str] = set()
    boxes: dict[str, int] = {}
    for number, account in enumerate(accounts, 1):
        key = f"collect[{number}]"
        _check_name(f"{key}.name", account.name, names, say)
        _check_host(f"{key}.host", account.host, say)
        _check_log_in(key, account, say)
        _check_to(f"{key}.to", account.to, is_taken, say)
        _check_figures(key, account, say)
        first = boxes.setdefault(box_name(account), number)
        if first != number:
            say(f"{key}.username", f"this is the mailbox of [[collect]] number {first} already")


def by_challenge(tls: str) -> str:
    """How a password is sent without encryption; "" where there may be some."""
    return ", unencrypted by CRAM-MD5 or SCRAM alone" if tls == "none" else ""


def collect_notes(accounts: Sequence[CollectSettings]) -> list[str]:
    """What is allowed and yet worth a word."""
    said = []
    for account in accounts:
        if account.tls in ("none", "opportunistic"):
            said.append(
                f'collect {account.name}: tls = "{account.tls}": its server is not verified, and it is sent a'
                f' password{by_challenge(account.tls)}; "implicit" (or "required") is safer.'
            )
    return said


def _check_name(key: str, name: str, names: set[str], say: Say) -> None:
    plain = "".join(letter for letter in name if letter not in _IN_NAMES)
    if not 0 < len(name) <= NAME_MAX or not plain.isascii() or not plain.isalnum():
        say(key, f'"{name}" must be a name of letters, digits, - _ and ., {NAME_MAX} signs at most')
    elif name in names:
        say(key, f'"{name}" is the name of another [[collect]] already')
    names.add(name)


def _check_host(key: str, host: str, say: Say) -> None:
    try:
        endpoint = parse_endpoint(host, 25)
        is_address = ":" in endpoint.host or endpoint.host.replace(".", "").isdigit()
        if endpoint.path or has_port(host):
            say(key, f'"{host}" must be a host alone; its port stands in port')
        elif not is_address:
            parse_domain(endpoint.host)
    except (ValueError, AddressSyntaxError):
        say(key, f'"{host}" is not a host')


def _check_log_in(key: str, account: CollectSettings, say: Say) -> None:
    if not account.username:
        say(f"{key}.username", "is empty")
    if not account.password_file:
        say(f"{key}.password_file", "is missing: no server gives mail without a password")


def _check_to(key: str, to: str, is_taken: Callable[[str], bool], say: Say) -> None:
    try:
        domain = parse_domain(to[1:]) if to.startswith("@") else parse_address(to.encode()).domain
    except (AddressSyntaxError, UnicodeEncodeError):
        say(key, f'"{to}" is neither an address here nor @ and a domain of ours')
        return
    if not is_taken(domain):
        say(key, f'mail for "{domain}" is not for people here: see host.domains')


def _check_figures(key: str, account: CollectSettings, say: Say) -> None:
    if not 0 <= account.port < 65536:
        say(f"{key}.port", "must be a port: 1 to 65535, or 0 for the usual one")
    if account.every and not _EVERY[0] <= account.every <= _EVERY[1]:
        say(f"{key}.every", "must be 10s to 7d, or 0s")
    if 0 < account.largest < LARGEST_MIN:
        say(f"{key}.largest", f"must be at least {LARGEST_MIN} octets, or 0 for no limit")
    if account.protocol == "imap" and not account.folder:
        say(f"{key}.folder", "is empty")
    if any(ord(letter) < 32 for letter in account.username + account.folder):
        say(f"{key}.folder", "has a control character in it")
