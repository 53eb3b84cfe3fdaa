"""Dates are printed as RFC 5322 wants them, in the zone of the machine."""

import time
from email.utils import parsedate_to_datetime

import pytest

from cmail.mail.date import print_date

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
