"""SPF: whether the record of a domain allows who really sends its mail."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final

from cmail.admin.checks.finding import Finding, State, listed, worst
from cmail.admin.checks.inquiry import Inquiry
from cmail.policy.msgauth.spf import Spf, SpfResult, check_host
from cmail.policy.msgauth.spf_record import SpfRecord, SpfSyntaxError, parse_record, select_records
from cmail.policy.routing import is_near
from cmail.world import IPAddress

_NOBODY: Final = ip_address("198.51.100.1")  # RFC 5737
_ENTER: Final = "Have this record entered where the DNS of your domain is kept."
_CHANGE: Final = "Change the record to this one."


async def check_spf(inquiry: Inquiry, domain: str) -> Finding:
    """One domain."""
    texts = select_records(await inquiry.ask(lambda: inquiry.reach.dns.txt(domain)))
    expected = _expected(inquiry)
    if not texts:
        inquiry.doubt()
        words = (
            f"{domain} has no SPF record: others cannot tell your mail from forged mail, and some refuse it."
        )
        return Finding(State.WRONG, words, expected, _ENTER, (_line(domain, _new(inquiry)),))
    raw = tuple(f'{domain}. TXT "{text}"' for text in texts)
    if len(texts) > 1:
        words = f"{domain} has {len(texts)} SPF records. With more than one none counts."
        return Finding(State.WRONG, words, expected, "Put them together into one.", raw=raw)
    try:
        record = parse_record(texts[0])
    except SpfSyntaxError as error:
        words = f"The SPF record of {domain} cannot be read: {error}."
        return Finding(State.WRONG, words, expected, _CHANGE, (_line(domain, _new(inquiry)),), raw)
    inquiry.need_dns()
    if inquiry.subject.is_mx:
        return await _judge_ours(inquiry, domain, record, texts[0], raw)
    return await _judge_upstream(inquiry, domain, record, texts[0], raw)


def _expected(inquiry: Inquiry) -> str:
    if inquiry.subject.is_mx:
        return "One SPF record (TXT) that allows the addresses this server sends from."
    return f"One SPF record (TXT) that allows {inquiry.subject.smtp.host or 'your upstream server'}."


async def _judge_ours(
    inquiry: Inquiry, domain: str, record: SpfRecord, text: str, raw: Sequence[str]
) -> Finding:
    """We send by ourselves: each of our public addresses must pass."""
    expected = _expected(inquiry)
    addresses = await inquiry.public_addresses()
    if not addresses:
        words = "There is a record, but the public address of this server is not known: see Addresses."
        return Finding(State.UNKNOWN, words, expected, raw=raw)
    results = {address: await _check(inquiry, domain, address) for address in addresses}
    if broken := next((r for r in results.values() if r.result in (Spf.PERMERROR, Spf.TEMPERROR)), None):
        return _broken(inquiry, domain, broken, raw)
    states = {address: _state(result) for address, result in results.items()}
    refused = [address for address, state in states.items() if state is not State.GOOD]
    if not refused:
        return _allowed(f"It allows {listed(list(results))}.", expected, record, raw)
    inquiry.doubt()
    words = (
        f"The SPF record does not allow {listed(refused)} ({listed([results[r].result for r in refused])})."
    )
    better = _line(domain, _with(text, f"a:{inquiry.subject.hostname}"))
    return Finding(worst(list(states.values())), words, expected, _CHANGE, (better,), raw)


async def _judge_upstream(
    inquiry: Inquiry, domain: str, record: SpfRecord, text: str, raw: Sequence[str]
) -> Finding:
    """The upstream server sends: whether its address passes or its domain is included can be known."""
    host, expected = inquiry.subject.smtp.host.lower(), _expected(inquiry)
    unknown = "Which addresses it sends from only your provider knows: ask what your record has to include."
    if not host or is_near(host):
        words = "There is an SPF record. Mail goes out through a server of your own network."
        return Finding(State.UNKNOWN, words, expected, unknown, raw=raw)
    if named := _named(record, host):
        result = await _check(inquiry, domain, None)
        if result.result in (Spf.PERMERROR, Spf.TEMPERROR):
            return _broken(inquiry, domain, result, raw)
        return _allowed(f"It names {named}, where {host} is.", expected, record, raw)
    for address in await inquiry.addresses(host):
        result = await _check(inquiry, domain, address)
        if result.result in (Spf.PERMERROR, Spf.TEMPERROR):
            return _broken(inquiry, domain, result, raw)
        if result.result is Spf.PASS:
            return _allowed(f"It allows {host}.", expected, record, raw)
    inquiry.doubt()
    words = f"The SPF record does not name {host}, through which your mail goes out."
    return Finding(State.LOOK, words, expected, unknown, (_line(domain, _with(text, f"a:{host}")),), raw)


async def _check(inquiry: Inquiry, domain: str, address: IPAddress | None) -> SpfResult:
    """None: an address that nobody has, so that all of the record is walked through."""
    client = address or _NOBODY
    return await check_host(
        inquiry.reach.dns, client, domain, f"postmaster@{domain}", inquiry.subject.hostname
    )


def _broken(inquiry: Inquiry, domain: str, result: SpfResult, raw: Sequence[str]) -> Finding:
    if result.result is Spf.TEMPERROR:
        inquiry.doubt()
        words = f"It cannot be checked now: {result.reason}."
        return Finding(State.UNKNOWN, words, _expected(inquiry), "Check again in a minute.", raw=raw)
    inquiry.doubt()
    words = f"The SPF record of {domain} is no good: {result.reason}."
    return Finding(
        State.WRONG, words, _expected(inquiry), "Who reads it gives up on it. Make it simpler.", raw=raw
    )


def _allowed(words: str, expected: str, record: SpfRecord, raw: Sequence[str]) -> Finding:
    if record.all is not None and record.all.qualifier == "+":
        words = f"{words} But it allows everybody else too (+all)."
        return Finding(State.LOOK, words, expected, "Write ~all or -all at its end.", raw=raw)
    return Finding(State.GOOD, words, expected, raw=raw)


def _state(result: SpfResult) -> State:
    match result.result:
        case Spf.PASS:
            return State.GOOD
        case Spf.NEUTRAL | Spf.NONE:
            return State.LOOK
        case _:
            return State.WRONG


def _named(record: SpfRecord, host: str) -> str:
    """What the record includes of the domain that the host is in; "" when nothing."""
    ours = host.split(".")[-2:]
    named = [each.domain for each in record.mechanisms if each.name in ("include", "a", "mx") and each.domain]
    for each in [*named, record.redirect]:
        if each.lower().rstrip(".").split(".")[-2:] == ours:
            return each
    return ""


def _new(inquiry: Inquiry) -> str:
    who = inquiry.subject.hostname if inquiry.subject.is_mx else inquiry.subject.smtp.host
    return f"v=spf1 mx a:{who} ~all" if who and "." in who else "v=spf1 mx ~all"


def _with(text: str, term: str) -> str:
    """The record with one more term, before what it says of everybody else."""
    terms = text.split()
    at = next(
        (
            n
            for n, each in enumerate(terms)
            if each.lower().lstrip("+-~?") == "all" or each.lower().startswith("redirect=")
        ),
        len(terms),
    )
    return " ".join([*terms[:at], term, *terms[at:]])


def _line(domain: str, text: str) -> str:
    return f'{domain}. 3600 IN TXT "{text}"'
