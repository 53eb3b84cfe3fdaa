"""Cross checks of [[site]]: whose domains, who may ask, and where a site is."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from cmail.delivery.site_settings import SITE_PORT, SiteSettings
from cmail.mail.address import AddressSyntaxError, parse_address, parse_domain
from cmail.settings import Say, parse_endpoint, parse_network

SITES_MAX: Final = 1000
NAME_MAX: Final = 40
_SECOND: Final = timedelta(seconds=1)


def check_sites(sites: Sequence[SiteSettings], taken: Callable[[str], str], say: Say) -> None:
    """Everything that can be said without looking at the machine. `taken`: whose a domain is already, in
    words; "" when it is nobody's."""
    if len(sites) > SITES_MAX:
        say("site", f"mail is kept for {SITES_MAX} sites at most")
    names: set[str] = set()
    domains: dict[str, str] = {}
    for number, site in enumerate(sites, 1):
        key = f"site[{number}]"
        if not _is_name(site.name):
            say(f"{key}.name", f'"{site.name}" must be letters, digits, - and _, {NAME_MAX} signs at most')
        elif site.name.lower() in names:
            say(f"{key}.name", f'"{site.name}" is the name of another site already')
        names.add(site.name.lower())
        _check_domains(key, site, domains, taken, say)
        _check_who(key, site, say)
        _check_numbers(key, site, say)


def _is_name(name: str) -> bool:
    return len(name) <= NAME_MAX and name.isascii() and name.replace("-", "").replace("_", "").isalnum()


def _check_domains(
    key: str, site: SiteSettings, seen: dict[str, str], taken: Callable[[str], str], say: Say
) -> None:
    if not site.domains:
        say(f"{key}.domains", "is empty: no mail would ever wait for it")
    for domain in site.domains:
        try:
            is_name = not parse_domain(domain).startswith("[") and not domain.rpartition(".")[2].isdigit()
        except AddressSyntaxError:
            is_name = False
        if not is_name:
            say(f"{key}.domains", f'"{domain}" is not a domain name')
        elif words := taken(domain):
            say(f"{key}.domains", f'"{domain}" {words}')
        elif domain in seen:
            say(f"{key}.domains", f'"{domain}" is a domain of site {seen[domain]} already')
        seen[domain] = site.name


def _check_who(key: str, site: SiteSettings, say: Say) -> None:
    if not site.user and not site.networks:
        say(f"{key}.user", "is empty, and so is networks: nobody could ever ask for its mail")
    if site.user:
        try:
            parse_address(site.user.encode())
        except AddressSyntaxError:
            say(f"{key}.user", f'"{site.user}" is not the address of an account here')
    elif site.password_file:
        say(f"{key}.user", "is empty, but there is a password_file")
    for text in site.networks:
        try:
            network = parse_network(text)
        except ValueError as error:
            say(f"{key}.networks", f'"{text}": {error}')
            continue
        if network.prefixlen == 0:
            say(f"{key}.networks", f'"{text}" is the whole Internet: anybody could have its mail sent')
    if site.host:
        _check_host(f"{key}.host", site.host, say)


def _check_host(key: str, text: str, say: Say) -> None:
    try:
        endpoint = parse_endpoint(text, SITE_PORT)
    except ValueError as error:
        say(key, f'"{text}": {error}')
        return
    if endpoint.path or not endpoint.port:
        say(key, f'"{text}" must be a host, with a port from 1 to 65535 or without one')


def _check_numbers(key: str, site: SiteSettings, say: Say) -> None:
    if site.messages < 0:
        say(f"{key}.messages", "must be 0 (no limit) or more")
    if site.stays < _SECOND:
        say(f"{key}.stays", "must be at least 1s")


def site_notes(sites: Sequence[SiteSettings], kinds: frozenset[str]) -> list[str]:
    """What is allowed and yet worth a word. `kinds`: of the listeners."""
    said = []
    if "odmr" in kinds and not any(site.user for site in sites):
        said.append('there is a listener of kind "odmr", but no [[site]] with a user: nobody can use it.')
    if "finger" in kinds and not any(site.networks for site in sites):
        said.append('there is a listener of kind "finger", but no [[site]] with networks: nobody can use it.')
    return said
