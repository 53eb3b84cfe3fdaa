"""Cross checks: what the settings say together, and whether it fits this machine."""

import os
import pwd
import stat
from collections import Counter
from datetime import timedelta
from typing import Any, Final

from cmail.app.catalog import LISTENERS_NOT_YET
from cmail.app.config_checks_collect import by_challenge, check_collects, collect_notes
from cmail.app.config_checks_kick import check_kicks, kick_notes
from cmail.app.config_checks_link import check_links, link_notes
from cmail.app.config_checks_site import check_sites, site_notes
from cmail.app.settings import Settings
from cmail.delivery.settings import FORWARD_PORT
from cmail.mail.address import AddressSyntaxError, parse_domain
from cmail.mail.queue_id import SHARDS_MAX
from cmail.settings import Endpoint, Say, has_port, parse_endpoint, parse_network

_SECOND: Final = timedelta(seconds=1)
_AT_LEAST: Final = {
    "limits.sessions": 1,
    "limits.sessions_per_address": 1,
    "limits.connections_per_minute": 1,
    "limits.messages_per_minute": 1,
    "limits.recipients_per_minute": 100,
    "limits.recipients": 100,  # RFC 5321 §4.5.3.1.8
    "limits.errors": 1,
    "limits.idle_commands": 1,
    "limits.login_failures_per_address": 1,
    "limits.login_failures_per_account": 1,
    "limits.data_rate": 0,
    "limits.handshakes": 1,
    "smtp.advanced.max_message_size": 65536,  # RFC 5321 §4.5.3.1.7
    "smtp.advanced.connections": 1,
    "smtp.advanced.messages_per_connection": 1,
}
_PORTS: Final = ("smtp.port", "smtp.trigger_port", "smtp.advanced.outbound_port")
_DURATIONS: Final = (
    "limits.command_timeout",
    "limits.login_timeout",
    "limits.data_timeout",
    "smtp.advanced.timeout",
    "queue.lifetime",
)


def check_meaning(settings: Settings, say: Say) -> None:
    """Everything that can be said without looking at the machine."""
    _check_numbers(settings, say)
    _check_host(settings, say)
    _check_listeners(settings, say)
    _check_networks(settings, say)
    _check_sending(settings, say)
    _check_forwards(settings, say)
    check_sites(settings.site, lambda domain: _whose(settings, domain), say)
    check_links(settings.link, settings.exchange, settings.queue.batch, say)
    check_kicks(settings.link.kick, settings.smtp, say)
    check_collects(settings.collect, lambda domain: _is_ours(settings, domain), say)
    _check_places(settings, say)


def check_machine(settings: Settings, say: Say, files_held: tuple[str, ...] = ()) -> None:
    """Files and users that the settings name. Run with the rights that the server starts with; files
    that it holds already it need not be able to read again."""
    smtp, tls = settings.smtp, settings.tls
    if os.geteuid() == 0:
        _check_user(settings.host.user, say)
    for key, path, is_secret in (
        ("smtp.password_file", smtp.password_file, True),
        ("tls.certificate_file", tls.certificate_file, False),
        ("tls.key_file", tls.key_file, True),
        ("tls.ca_file", tls.ca_file, False),
        *((key, path, True) for key, path in password_files(settings)),
    ):
        if path:
            mode = _mode(path) if path in files_held else _readable(key, path, say)
            if is_secret and mode is not None and mode & 0o007:
                say(key, f"{path} can be read by everybody: chmod 600 it")


def password_files(settings: Settings) -> list[tuple[str, str]]:
    """Key and path of each file that holds a password, but for that of the SMTP host."""
    found = [
        (f"link.kick[{n}].password_file", kick.password_file) for n, kick in enumerate(settings.link.kick, 1)
    ]
    found += [
        (f"collect[{n}].password_file", each.password_file) for n, each in enumerate(settings.collect, 1)
    ]
    found += [(f"site[{n}].password_file", site.password_file) for n, site in enumerate(settings.site, 1)]
    return [(key, path) for key, path in found if path]


def notes(settings: Settings) -> list[str]:
    """What is allowed and yet worth a word, for `cmail config check` and the start screen."""
    said = []
    smtp = settings.smtp
    if smtp.delivery == "smarthost" and not smtp.host:
        said.append("smtp.host is empty: mail for the Internet waits in the queue until it is set.")
    if smtp.username and smtp.tls in ("none", "opportunistic"):
        said.append(
            f'smtp.tls = "{smtp.tls}": the upstream server is not verified, and it is sent a'
            f' password{by_challenge(smtp.tls)}; "required" (STARTTLS) or "implicit" (port 465) is safer.'
        )
    if smtp.username and not smtp.password_file and not os.environ.get("CMAIL_SMTP_PASSWORD"):
        said.append("smtp.username is set, but neither smtp.password_file nor $CMAIL_SMTP_PASSWORD.")
    if smtp.kick and not smtp.host:
        said.append("smtp.kick is on, but smtp.host is empty: there is nobody to kick.")
    if not settings.host.domains:
        said.append("host.domains is empty: only mail for the host name itself is ours.")
    if not settings.listener:
        said.append("there is no [[listener]]: mail comes in by the sendmail command alone.")
    said += site_notes(settings.site, frozenset(listener.kind for listener in settings.listener))
    said += collect_notes(settings.collect)
    said += kick_notes(settings.link.kick)
    said += link_notes(settings.link, settings.exchange, settings.queue.batch)
    if "." not in settings.host.hostname:
        said.append(f"host.hostname = {settings.host.hostname!r} has no dot: other servers may refuse it.")
    return said


def _is_ours(settings: Settings, domain: str) -> bool:
    """Whether mail for a domain is for people here, or for a host that we forward it to."""
    ours = {settings.host.hostname.lower(), *(each.lower() for each in settings.host.domains)}
    return domain in ours or any(each.domain == domain for each in settings.forward)


def _check_numbers(settings: Settings, say: Say) -> None:
    for key, least in _AT_LEAST.items():
        if _find(settings, key) < least:
            say(key, f"must be at least {least}")
    for key in _PORTS:
        if not 0 < _find(settings, key) < 65536:
            say(key, "must be a port: 1 to 65535")
    for key in _DURATIONS:
        if _find(settings, key) < _SECOND:
            say(key, "must be at least 1s")
    if not 0 <= settings.host.workers <= 64:
        say("host.workers", "must be 0 (one a core) to 64")
    if not settings.queue.retry or min(settings.queue.retry) < _SECOND:
        say("queue.retry", "must have at least one wait, each of 1s or more")
    assert SHARDS_MAX >= 64, "every worker has a shard of its own"


def _find(settings: Any, key: str) -> Any:
    for name in key.split("."):
        settings = getattr(settings, name)
    return settings


def _check_host(settings: Settings, say: Say) -> None:
    host = settings.host
    if fault := _domain_fault(host.hostname):
        say("host.hostname", f'"{host.hostname}" {fault}')
    for domain in host.domains:
        if fault := _domain_fault(domain):
            say("host.domains", f'"{domain}" {fault}')
    counts = Counter(domain.lower() for domain in host.domains)
    for domain in sorted(domain for domain, count in counts.items() if count > 1):
        say("host.domains", f'"{domain}" stands there twice')
    if not host.data_dir:
        say("host.data_dir", "is empty")


def _domain_fault(domain: str) -> str:
    try:
        parsed = parse_domain(domain)
    except AddressSyntaxError:
        return "is not a domain name"
    if parsed.startswith("["):
        return "is an address literal, not a domain name"
    labels = parsed.split(".")
    return "is an IP address, not a domain name" if labels[-1].isdigit() else ""


def _check_listeners(settings: Settings, say: Say) -> None:
    seen: dict[str, int] = {}
    for number, listener in enumerate(settings.listener, 1):
        key = f"listener[{number}].address"
        if listener.kind in LISTENERS_NOT_YET:
            say(f"listener[{number}].kind", f'listeners of kind "{listener.kind}" are not there yet')
        endpoint = _endpoint(key, listener.address, say)
        if endpoint is None:
            continue
        if endpoint.path and listener.kind != "lmtp":
            say(key, f'only lmtp can listen on a Unix socket, not "{listener.kind}"')
        # Port 0 is any that is free, so two of one kind are two; but nobody could tell them apart.
        place = str(endpoint) if endpoint.path or endpoint.port else f"{listener.kind} {endpoint}"
        first = seen.setdefault(place, number)
        if first != number:
            say(key, f"{endpoint} is the address of [[listener]] number {first} already")
    if settings.admin.address:
        endpoint = _endpoint("admin.address", settings.admin.address, say)
        if endpoint and endpoint.path:
            say("admin.address", "must be host:port")
        if endpoint and endpoint.port and str(endpoint) in seen:
            say("admin.address", f"{endpoint} is the address of a [[listener]] already")


def _endpoint(key: str, text: str, say: Say, default_port: int | None = None) -> Endpoint | None:
    try:
        return parse_endpoint(text, default_port)
    except ValueError as error:
        say(key, f'"{text}": {error}')
        return None


def _check_networks(settings: Settings, say: Say) -> None:
    for text in settings.relay.networks:
        try:
            network = parse_network(text)
        except ValueError as error:
            say("relay.networks", f'"{text}": {error}')
            continue
        if network.prefixlen == 0:
            say("relay.networks", f'"{text}" is the whole Internet: that would be an open relay')
    for text in settings.dns.servers:
        endpoint = _endpoint("dns.servers", text, say, 53)
        if endpoint and not (endpoint.host.replace(".", "").isdigit() or ":" in endpoint.host):
            say("dns.servers", f'"{text}" must be an IP address, with or without a port')


def _check_sending(settings: Settings, say: Say) -> None:
    smtp, local = settings.smtp, settings.local
    if smtp.host:
        endpoint = _endpoint("smtp.host", smtp.host, say, 25)
        if endpoint and (endpoint.path or has_port(smtp.host)):
            say("smtp.host", f'"{smtp.host}" must be a host alone; its port stands in smtp.port')
        elif endpoint and ":" not in endpoint.host and not endpoint.host.replace(".", "").isdigit():
            if fault := _domain_fault(endpoint.host):
                say("smtp.host", f'"{smtp.host}" {fault}')
    if smtp.password_file and not smtp.username:
        say("smtp.username", "is empty, but there is a password_file")
    if local.delivery == "lmtp" and not local.lmtp:
        say("local.lmtp", 'must name the LMTP server, because delivery = "lmtp"')
    if local.lmtp:
        _endpoint("local.lmtp", local.lmtp, say)
    if len(local.separator) > 1 or local.separator.isalnum() or local.separator in ("@", '"', " "):
        say("local.separator", "must be one sign, such as + or -, or empty")


def _check_forwards(settings: Settings, say: Say) -> None:
    """A domain is ours or another server's, never both: first match would win in silence."""
    seen: set[str] = set()
    for number, forward in enumerate(settings.forward, 1):
        key = f"forward[{number}].domain"
        if fault := _domain_fault(forward.domain):
            say(key, f'"{forward.domain}" {fault}')
        elif forward.domain in settings.host.domains:
            say(key, f'"{forward.domain}" is in host.domains too: mail for it is either ours or the host\'s')
        elif forward.domain == settings.host.hostname:
            say(key, f'"{forward.domain}" is the host name: mail for that is always ours')
        elif forward.domain in seen:
            say(key, f'"{forward.domain}" is forwarded already')
        seen.add(forward.domain)
        _check_forward_host(f"forward[{number}].host", forward.host, say)


def _whose(settings: Settings, domain: str) -> str:
    """Whose a domain is, when it is not a site's."""
    if domain in settings.host.domains:
        return "is in host.domains too: mail for it is either ours or the site's"
    if domain == settings.host.hostname:
        return "is the host name: mail for that is always ours"
    if any(forward.domain == domain for forward in settings.forward):
        return "is of a [[forward]] too"
    return ""


def _check_forward_host(key: str, text: str, say: Say) -> None:
    endpoint = _endpoint(key, text, say, FORWARD_PORT)
    if endpoint is None:
        return
    is_address = ":" in endpoint.host or endpoint.host.replace(".", "").isdigit()
    if endpoint.path or not endpoint.port:
        say(key, f'"{text}" must be a host, with a port from 1 to 65535 or without one')
    elif not is_address and (fault := _domain_fault(endpoint.host)):
        say(key, f'"{text}" {fault}')


def _check_places(settings: Settings, say: Say) -> None:
    tls = settings.tls
    if tls.certificate_file and not tls.key_file:
        say("tls.key_file", "is missing: there is a certificate_file")
    if tls.key_file and not tls.certificate_file:
        say("tls.certificate_file", "is missing: there is a key_file")


def _check_user(user: str, say: Say) -> None:
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        say("host.user", f"there is no user {user} on this machine; `make install` as root makes cmail")
        return
    if entry.pw_uid == 0:
        say("host.user", "must not be root: mail is read with no more rights than it needs")


def _mode(path: str) -> int | None:
    """The mode of a file that need not be readable; None when not even that can be seen."""
    try:
        return os.stat(path).st_mode
    except OSError:
        return None


def _readable(key: str, path: str, say: Say) -> int | None:
    """The mode of a file that can be read; None (and a word) when it cannot."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
    except OSError as error:
        say(key, f"{path} cannot be read: {(error.strerror or '').lower()}")
        return None
    if not stat.S_ISREG(status.st_mode):
        say(key, f"{path} is not a file")
        return None
    return status.st_mode
