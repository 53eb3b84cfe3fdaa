"""Setup: the four things that the first run asks, what is wrong with an answer, and which settings it means.

The page and `cmail setup` ask the same with these."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cmail.admin.accounts import change_accounts
from cmail.admin.ports import Fault, port_fault
from cmail.admin.upstream_steps import Step
from cmail.admin.upstream_test import Upstream, test_upstream
from cmail.mail.address import AddressSyntaxError, parse_address, parse_domain
from cmail.net.dns_client import DnsClient
from cmail.net.settings import DnsSettings
from cmail.policy.rewriting import POSTMASTER
from cmail.storage import durable
from cmail.storage.account_book import AccountBook, AccountError

# What `cmail config init` writes: a file that nobody has touched counts as none.
STARTER_HOSTNAME: Final = "mail.example.org"
STARTER_DOMAIN: Final = "example.org"
STARTER_USER: Final = "you@example.org"
PASSWORD_MIN: Final = 8
SMTP_PORT: Final = 25
SUBMISSION: Final = "0.0.0.0:587"
HERE: Final = "127.0.0.1:2587"

WAYS_OUT: Final[Mapping[str, str]] = {
    "host": "Through a server of my provider, with a user name and a password (most offices)",
    "mx": "Straight to the server of each recipient: this needs a fixed address that is not blocked",
    "later": "Not yet: mail for elsewhere waits here until I say how",
}
WAYS_IN: Final[Mapping[str, str]] = {
    "here": "Only from mail programs here",
    "internet": "From the Internet too: other servers bring it",
    "collected": "It lies at a provider; how it is collected I set up later",
}
TLS_WORDS: Final[Mapping[str, str]] = {
    "required": "STARTTLS, always; the certificate is verified (often port 587)",
    "implicit": "TLS from the first byte; the certificate is verified (often port 465)",
    "opportunistic": "Encrypted when the server can, not verified",
    "none": "None: everything can be read on the way",
}
Errors = dict[str, str]  # field -> what is wrong, in words
Listeners = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Answers:
    """What somebody has typed, perhaps not yet right."""

    domain: str = ""
    hostname: str = ""
    way_out: str = "host"
    host: str = ""
    port: str = "587"
    tls: str = "required"
    username: str = ""
    smtp_password: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    way_in: str = "here"
    port_in: str = str(SMTP_PORT)
    has_network: bool = False  # mail programs on other machines may submit
    is_later: bool = False  # a port that cannot be opened now is to be opened at the next start

    @property
    def address(self) -> str:
        """Of the first user."""
        name = self.user.lower()
        return name if "@" in name else f"{name}@{self.domain}"


def is_new(hostname: str, domains: Sequence[str]) -> bool:
    """Whether these are the settings of somebody who has not set up anything yet."""
    return hostname.lower() in (STARTER_HOSTNAME, "localhost") and {*map(str.lower, domains)} <= {
        STARTER_DOMAIN
    }


def answers_of(values: Mapping[str, Any]) -> Answers:
    """What the settings of now would have been answered."""
    host, domains = str(values["smtp.host"]), values["host.domains"]
    return Answers(
        domain=str(domains[0]) if domains else "",
        hostname=str(values["host.hostname"]),
        way_out="mx" if values["smtp.delivery"] == "mx" else "host" if host else "later",
        host=host,
        port=str(values["smtp.port"]) if host else "587",
        tls=str(values["smtp.tls"]) if host else "required",
        username=str(values["smtp.username"]),
    )


# What is wrong.


def check_domain(answers: Answers) -> tuple[Answers, Errors]:
    """The answers put straight, and what cannot be used."""
    errors: Errors = {}
    domain = _name(answers.domain.rpartition("@")[2])
    if not domain:
        errors["domain"] = "What stands behind the @ of your addresses? For example: example.com"
    elif fault := _name_fault(domain):
        errors["domain"] = f"{domain} {fault}. For example: example.com"
    hostname = _name(answers.hostname) or f"mail.{domain}"
    if "domain" not in errors and (fault := _name_fault(hostname)):
        errors["hostname"] = f"{hostname} {fault}. For example: mail.{domain}"
    return replace(answers, domain=domain, hostname="" if "domain" in errors else hostname), errors


def _name(text: str) -> str:
    return text.strip().lower().removesuffix(".")


def _name_fault(name: str) -> str:
    try:
        parsed = parse_domain(name)
    except (AddressSyntaxError, UnicodeEncodeError):
        return "is not a domain name"
    if parsed.startswith("[") or parsed.rpartition(".")[2].isdigit():
        return "is an address, not a name"
    return "" if "." in parsed else "has no dot in it"


def check_way_out(answers: Answers) -> tuple[Answers, Errors]:
    """See check_domain."""
    errors: Errors = {}
    answers = replace(answers, host=_name(answers.host), username=answers.username.strip())
    if answers.way_out not in WAYS_OUT:
        errors["way_out"] = "Choose one."
    if answers.way_out != "host":
        return answers, errors
    if not answers.host:
        errors["host"] = 'What is the server called? Your provider says it: "SMTP server" or "outgoing mail".'
    elif not answers.host.replace(".", "").isdigit() and (fault := _host_fault(answers.host)):
        errors["host"] = f"{answers.host} {fault}."
    if not _is_port(answers.port):
        errors["port"] = "A port is a number from 1 to 65535: 587, 465 or 25."
    if answers.tls not in TLS_WORDS:
        errors["tls"] = "Choose one."
    if answers.smtp_password and not answers.username:
        errors["username"] = "There is a password, but no user name."
    if any(ord(c) < 32 for c in answers.username + answers.smtp_password):
        errors["username"] = "User name and password have no line ends or control characters in them."
    return answers, errors


def _host_fault(host: str) -> str:
    fault = _name_fault(host)
    return "" if host == "localhost" or ":" in host else fault


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536


def check_user(answers: Answers) -> tuple[Answers, Errors]:
    """See check_domain."""
    errors: Errors = {}
    answers = replace(answers, user=answers.user.strip().lower())
    domain = answers.user.partition("@")[2]
    if not answers.user:
        errors["user"] = f"Who is the first user? For example: anna (that is anna@{answers.domain})"
    elif domain and domain not in (answers.domain, answers.hostname):
        errors["user"] = f"{domain} is not your domain: a user here is somebody@{answers.domain}."
    else:
        try:
            parse_address(answers.address.encode())
        except (AddressSyntaxError, UnicodeEncodeError):
            errors["user"] = f"{answers.address} is not an address."
    if answers.password and len(answers.password) < PASSWORD_MIN:
        errors["password"] = f"At least {PASSWORD_MIN} characters, or none: then a good one is made."
    return answers, errors


def check_way_in(answers: Answers, listeners: Listeners, supervisor: int) -> tuple[Answers, Errors]:
    """See check_domain. `listeners` are those of now, `supervisor` is the process that would open a port."""
    errors: Errors = {}
    if answers.way_in not in WAYS_IN:
        errors["way_in"] = "Choose one."
    if answers.way_in == "internet" and not _is_port(answers.port_in):
        errors["port_in"] = "A port is a number from 1 to 65535; other servers come to 25."
    if errors:
        return answers, errors
    for address, fault in port_faults(answers, listeners, supervisor):
        if fault.is_for_ever or not answers.is_later:
            key = "has_network" if address == SUBMISSION else "port_in"
            errors[key] = f"Port {address.rpartition(':')[2]}: {fault.words}"
    return answers, errors


def port_faults(answers: Answers, listeners: Listeners, supervisor: int) -> list[tuple[str, Fault]]:
    """The new ports that cannot be opened now."""
    faults = [(address, port_fault(address, supervisor)) for address in _new_ports(answers, listeners)]
    return [(address, fault) for address, fault in faults if fault is not None]


def _new_ports(answers: Answers, listeners: Listeners) -> list[str]:
    there = {str(each.get("address")) for each in listeners}
    return [str(each["address"]) for each in listeners_of(answers, listeners) if each["address"] not in there]


# What it means.


def listeners_of(answers: Answers, listeners: Listeners) -> list[dict[str, Any]]:
    """Those of now, and those that the answers add; each once."""
    found = [dict(each) for each in listeners]
    added = []
    if answers.way_in == "internet":
        added.append({"kind": "smtp", "address": f"0.0.0.0:{int(answers.port_in)}"})
    if answers.has_network:
        added.append({"kind": "submission", "address": SUBMISSION})
    elif not any(each.get("kind") in ("submission", "submissions") for each in found):
        added.append({"kind": "submission", "address": HERE})
    return found + [each for each in added if each not in found]


def settings_of(answers: Answers) -> dict[str, Any]:
    """Settings by their keys, but for listeners and passwords."""
    values: dict[str, Any] = {"host.hostname": answers.hostname, "host.domains": [answers.domain]}
    match answers.way_out:
        case "host":
            values |= {
                "smtp.delivery": "smarthost",
                "smtp.host": answers.host,
                "smtp.port": int(answers.port),
                "smtp.tls": answers.tls,
                "smtp.username": answers.username,
            }
        case "mx":
            values |= {"smtp.delivery": "mx", "smtp.host": "", "smtp.username": ""}
        case _:
            values |= {"smtp.delivery": "smarthost", "smtp.host": "", "smtp.username": ""}
    return values


async def try_way_out(
    answers: Answers, dns_servers: Sequence[str] = (), ca_file: str = "", *, is_offline: bool = False
) -> list[Step]:
    """Talk to the provider's server, without sending anything."""
    upstream = Upstream(
        answers.hostname,
        f"{POSTMASTER}@{answers.domain}",
        answers.host,
        int(answers.port),
        answers.tls,  # type: ignore[arg-type]  # one of TLS_WORDS: checked
        answers.username,
        answers.smtp_password,
        ca_file,
    )
    resolver = DnsClient(DnsSettings(tuple(dns_servers)))
    return await test_upstream(upstream, resolver, is_offline=is_offline)


# Who uses it.


def make_people(data_dir: str, answers: Answers, password: str) -> list[str]:
    """The first user (with another password when there is one already), postmaster's mail to them, and the
    user that a starter file came with goes; what was done, in words. AccountError: not even the user."""
    domains, done = (answers.domain,), []

    def make(book: AccountBook) -> None:
        address = answers.address
        if address in [user.address for user in book.users()]:
            book.set_password(address, password)
            done.append(f"{address} was there already and has the new password.")
        else:
            done.append(f"{book.add_user(address, password)} can log in.")
        postmaster = f"{POSTMASTER}@{answers.domain}"
        names = {user.address for user in book.users()} | {alias.address for alias in book.aliases()}
        if postmaster not in names:
            book.add_alias(postmaster, [address])
            done.append(f"Mail to {postmaster} goes to {address}.")

    change_accounts(data_dir, domains, answers.hostname, make)
    if answers.domain != STARTER_DOMAIN and _forget_starter(data_dir, domains, answers.hostname):
        done.append(f"The user {STARTER_USER}, which was for trying, is gone.")
    return done


def _forget_starter(data_dir: str, domains: tuple[str, ...], hostname: str) -> bool:
    try:
        change_accounts(
            data_dir, (*domains, STARTER_DOMAIN), hostname, lambda book: book.delete_user(STARTER_USER)
        )
    except AccountError:
        return False  # nobody has made one
    durable.remove(os.path.join(data_dir, "secrets", STARTER_USER))
    return True
