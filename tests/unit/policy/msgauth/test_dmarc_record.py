"""DMARC records: what parses to what, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmail.policy.msgauth.dmarc_record import DmarcRecord, DmarcSyntaxError, parse_record, select_records

GOOD = [
    ("v=DMARC1; p=none", DmarcRecord("none")),
    ("v=DMARC1;p=reject;", DmarcRecord("reject")),
    ("v = DMARC1 ; P = Quarantine ; pct=20", DmarcRecord("quarantine", percent=20)),
    (
        "v=DMARC1; p=reject; sp=none; aspf=s; adkim=s; rua=mailto:a@x.example,mailto:b@x.example!10m",
        DmarcRecord("reject", "none", 100, True, True, ("mailto:a@x.example", "mailto:b@x.example!10m")),
    ),
    ("v=DMARC1; p=reject; new=thing; pct=x; aspf=q", DmarcRecord("reject")),
    ("v=DMARC1; p=oops; rua=mailto:a@x.example", DmarcRecord("none", reports_to=("mailto:a@x.example",))),
    ("v=DMARC1; p=none; p=reject", DmarcRecord("none")),
]


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_what_parses(text: str, expected: DmarcRecord) -> None:
    """Policy, that of subdomains, percent, alignment, reports; what is not known is passed over."""
    assert parse_record(text) == expected


@pytest.mark.parametrize(
    "text", ["", "p=none", "v=DMARC1", "v=DMARC1; p=oops", "v=DMARC1; p", "v=DMARC2; p=none"]
)
def test_what_is_refused(text: str) -> None:
    """No version, no policy, no tag."""
    with pytest.raises(DmarcSyntaxError):
        parse_record(text)


def test_which_records_are_dmarc() -> None:
    """Those that begin with the version (RFC 7489 §6.6.3)."""
    assert select_records(["v=DMARC1; p=none", "v=DMARC10; p=none", "x", "v=DMARC1"]) == [
        "v=DMARC1; p=none",
        "v=DMARC1",
    ]


@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused(text: str) -> None:
    """No text raises anything else."""
    for each in (text, "v=DMARC1;" + text, "v=DMARC1; p=none; pct=" + text):
        try:
            parse_record(each)
        except DmarcSyntaxError:
            continue
