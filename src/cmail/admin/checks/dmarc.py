"""DMARC: what the owner of a domain asks others to do with mail that is not theirs."""

from collections.abc import Sequence
from functools import partial

from cmail.admin.checks.finding import Finding, State
from cmail.admin.checks.inquiry import Inquiry
from cmail.policy.msgauth.dmarc_record import DmarcRecord, DmarcSyntaxError, parse_record, select_records

_EXPECTED = "One DMARC record (TXT at _dmarc) with a policy."
_WORDS = {
    "none": "mail that is not yours is let through, and only reported",
    "quarantine": "mail that is not yours is put among the spam",
    "reject": "mail that is not yours is refused",
}


async def check_dmarc(inquiry: Inquiry, domain: str) -> Finding:
    """One domain: its own record, else that of a domain above it."""
    texts, owner = await _find(inquiry, domain)
    wanted = (f'_dmarc.{domain}. 3600 IN TXT "v=DMARC1; p=none; rua=mailto:postmaster@{domain}"',)
    if not texts:
        inquiry.doubt()
        words = f"{domain} has no DMARC record. Large providers ask for one."
        advice = "Have this record entered; it changes nothing but that you get reports. Later p=quarantine."
        return Finding(State.LOOK, words, _EXPECTED, advice, wanted)
    raw = tuple(f'_dmarc.{owner}. TXT "{text}"' for text in texts)
    if len(texts) > 1:
        words = f"{owner} has {len(texts)} DMARC records. With more than one none counts."
        return Finding(State.WRONG, words, _EXPECTED, "Leave one of them.", raw=raw)
    try:
        record = parse_record(texts[0])
    except DmarcSyntaxError as error:
        words = f"The DMARC record of {owner} cannot be read: {error}."
        return Finding(State.WRONG, words, _EXPECTED, "Replace it by this one.", wanted, raw)
    return Finding(State.GOOD, _describe(record, domain, owner), _EXPECTED, _advice(record), raw=raw)


async def _find(inquiry: Inquiry, domain: str) -> tuple[Sequence[str], str]:
    """The records that hold, and whose they are."""
    labels = domain.split(".")
    for start in range(max(1, len(labels) - 1)):
        owner = ".".join(labels[start:])
        texts = select_records(await inquiry.ask(partial(inquiry.reach.dns.txt, f"_dmarc.{owner}")))
        if texts:
            return texts, owner
    return (), domain


def _describe(record: DmarcRecord, domain: str, owner: str) -> str:
    is_ours = owner == domain
    policy = record.policy if is_ours else record.subdomain_policy or record.policy
    whose = "" if is_ours else f" The record of {owner} holds for it."
    part = "" if record.percent == 100 else f", of {record.percent} in a hundred"
    return f"The policy is {policy}: {_WORDS[policy]}{part}.{whose}"


def _advice(record: DmarcRecord) -> str:
    return "" if record.reports_to else "With rua=mailto:... others send you reports of who uses your name."
