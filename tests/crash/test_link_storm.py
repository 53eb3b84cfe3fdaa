"""The storm over a cable that comes and goes, a short one: two servers of ours and a mailbox elsewhere."""

from pathlib import Path

import pytest

from tests.crash.link_storm import LinkStorm

SHORT = {
    "always": ("cut", "route"),
    "exchanges": ("down", "link of the site", "all of the hub"),
}
SEED = 20_261


@pytest.mark.needs("root", "ip")
@pytest.mark.limit(400)
@pytest.mark.parametrize("plan", SHORT)
def test_whatever_is_cut_or_killed_nothing_is_lost(tmp_path: Path, plan: str) -> None:
    """Mail to a site by ATRN, from it through its hub, and out of a mailbox elsewhere: all of it arrives, what is
    collected exactly once; nobody gets a bounce, and no attempt is counted while we are off line."""
    with LinkStorm(plan, tmp_path, SEED) as storm:
        for what in SHORT[plan]:
            storm.do(what)
        summary = storm.finish()
    assert not summary.broken, "\n".join(summary.broken)
    assert summary.accepted == summary.delivered > 30 and storm.windows
