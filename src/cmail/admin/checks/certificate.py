"""The TLS certificate in use: whose name is in it, how long it holds, who trusts it."""

import asyncio
import os
import ssl
from typing import Final

from cmail.admin.certificates import SOON_DAYS, Certificate, certificate_of, read_certificate
from cmail.admin.checks.finding import Finding, NotKnownError, State
from cmail.admin.checks.inquiry import Inquiry
from cmail.net.tls import server_context
from cmail.net.tls_look import NoTlsError, Shown
from cmail.settings import SettingError, parse_endpoint

LISTENER_KINDS: Final = ("submission", "submissions", "smtp")  # that do TLS, the best to ask first
_TRUSTED: Final = "unable to get local issuer certificate"


async def check_certificate(inquiry: Inquiry) -> Finding:
    """As a client sees it: the listeners are asked; without any, the file is read."""
    shown = await _shown(inquiry)
    refusal = ""
    if shown is None:
        certificate = await _from_file(inquiry)
    else:
        try:
            certificate = await asyncio.to_thread(read_certificate, shown.der)
        except ValueError as error:
            raise NotKnownError(Finding(State.UNKNOWN, f"The certificate cannot be read: {error}")) from None
        refusal = shown.refusal
    return judge(certificate, refusal, inquiry.subject.hostname, int(inquiry.reach.wall_s() * 1000))


def judge(certificate: Certificate, refusal: str, hostname: str, now_ms: int) -> Finding:
    """What is to be said of it. `refusal`: why a client that verifies does not take it; "" is not known."""
    days = certificate.days_left(now_ms)
    expected = f"For {hostname}, more than {SOON_DAYS} days to go, from an authority that everybody trusts."
    whole = f"For {certificate.names_words}, by {certificate.issuer}; it"
    ended = f"ended {-days} days ago" if days < 0 else f"ends in {days} days"
    found = f"{whole} {ended}."
    raw = (refusal,) if refusal else ()
    if days < 0 or now_ms < certificate.not_before_ms:
        words = found if days < 0 else f"{whole} does not hold yet."
        return Finding(State.WRONG, words, expected, "Renew it; if it is new, look at the clock.", raw=raw)
    if certificate.is_self_signed:
        found = f"Self-signed, for {certificate.names_words}; it {ended}."
        advice = (
            "Other servers encrypt with it all the same. Mail programs of your people ask whether to trust"
            " it: for them get one from an authority (Let's Encrypt is free), and name it under [tls] in"
            " cmail.toml."
        )
        return Finding(State.LOOK, found, expected, advice, raw=raw, is_soon=days < SOON_DAYS)
    if not certificate.is_for(hostname):
        found = f"{found} {hostname} is not in it."
        return Finding(
            State.WRONG, found, expected, "Get one for that name, or correct the host name.", raw=raw
        )
    if days < SOON_DAYS:
        advice = "Renew it, then let the server read it: SIGHUP, or Save Settings."
        return Finding(State.LOOK, found, expected, advice, raw=raw, is_soon=True)
    if refusal:
        advice = (
            "Let the file have the certificate first, then those of the authority between it and the root."
        )
        found = f"{found} Who verifies it does not trust it: {refusal}."
        return Finding(State.WRONG if refusal == _TRUSTED else State.LOOK, found, expected, advice, raw=raw)
    return Finding(State.GOOD, found, expected)


async def _shown(inquiry: Inquiry) -> Shown | None:
    """What a listener shows; None when there is none that can be asked."""
    listeners = [each for each in await inquiry.reach.listeners() if each[0] in LISTENER_KINDS]
    for kind, address in sorted(listeners, key=lambda each: LISTENER_KINDS.index(each[0])):
        host, port = _near(address)
        try:
            found = await inquiry.reach.shown_by(
                host,
                port,
                inquiry.subject.hostname,
                inquiry.subject.tls.ca_file,
                is_implicit=kind == "submissions",
            )
        except (OSError, NoTlsError, ssl.SSLError, ValueError):
            continue
        assert isinstance(found, Shown)
        return found
    return None


def _near(address: str) -> tuple[str, int]:
    """Where to ask for a listener from this machine."""
    endpoint = parse_endpoint(address)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(endpoint.host, endpoint.host), endpoint.port


async def _from_file(inquiry: Inquiry) -> Certificate:
    subject = inquiry.subject
    try:
        context = await asyncio.to_thread(server_context, subject.tls, subject.data_dir)
        found = await asyncio.to_thread(certificate_of, context)
    except SettingError as error:
        words = f"The server does not run, and {error.problems[0].reason}."
        raise NotKnownError(Finding(State.UNKNOWN, words)) from None
    if found is None:
        path = subject.tls.certificate_file or os.path.join(subject.data_dir, "tls")
        raise NotKnownError(Finding(State.UNKNOWN, f"No certificate can be seen in {path}."))
    return found
