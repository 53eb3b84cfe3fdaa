"""Dates are printed as RFC 5322 wants them, in the zone of the machine."""

import time
from email.utils import parsedate_to_datetime

import pytest

from cmail.mail.date import print_date, print_timestamp, read_timestamp

ZONES = {"UTC": "+0000", "EST5": "-0500", "XYZ-5:45": "+0545"}


@pytest.mark.parametrize("zone", ZONES)
def test_dates(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same moment to who reads it, with the offset of the zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        for wall_ms in (0, 1_770_624_900_999, 4_102_444_800_000):
            text = print_date(wall_ms)
            assert text.endswith(ZONES[zone])
            assert parsedate_to_datetime(text).timestamp() == wall_ms // 1000
    time.tzset()


@pytest.mark.parametrize(
    ("text", "wall_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59Z", -1000),
        ("2026-02-09T08:15:00.9876543210Z", 1_770_624_900_987),
        ("2026-02-09T08:15:00.987654321Z", 1_770_624_900_987),
        ("2026-02-09T08:15:00.5z", 1_770_624_900_500),
        ("2026-02-09t09:15:00+01:00", 1_770_624_900_000),
        ("2026-02-08T22:45:00-09:30", 1_770_624_900_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799_000),
        ("2026-02-30T08:15:00Z", None),
        ("2026-02-09 08:15:00Z", None),
        ("2026-02-09T08:15:00", None),
        ("2026-02-09T08:15:00+01:60", None),
        ("2026-02-09T08:15:00Z\n", None),
        ("٢026-02-09T08:15:00Z", None),
    ],
)
def test_timestamps(text: str, wall_ms: int | None) -> None:
    """Those of RFC 3339 are read to the millisecond, and nothing else is; printed in UTC."""
    if wall_ms is None:
        with pytest.raises(ValueError):
            read_timestamp(text)
        return
    assert read_timestamp(text) == wall_ms
    assert read_timestamp(print_timestamp(wall_ms)) == wall_ms // 1000 * 1000
