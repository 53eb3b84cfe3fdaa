"""The quick part of the soak: some thousand messages of every kind leave memory and descriptors as they were."""

from pathlib import Path

import pytest

from tests.soak.soak import MIB, Samples, soak

GROWTH_MAX = 8 * MIB  # of a process, while the second half of the load runs


@pytest.mark.limit(300)
def test_load_leaves_nothing_behind(tmp_path: Path) -> None:
    """Every kind of session, reloads, a rotated log and questions, at full speed and at half of it: all
    mail arrives once, nothing stands in the log as an error, memory hardly grows, descriptors are closed."""
    summary, running = soak(tmp_path, lambda _: None, seconds=7, full_speed_s=5)
    assert summary.broken == []
    assert summary.accepted > 100 and (summary.lost, summary.duplicated) == (0, 0)
    assert {"supervisor", "worker-0", "worker-1", "link"} == set(running.samples)
    for name, samples in running.samples.items():
        assert samples.memory[-1] - samples.memory[0] < GROWTH_MAX, f"{name}: {samples.words()}"


def test_a_slope_is_seen() -> None:
    """What the soak judges by: a megabyte a minute is ten in ten minutes, whatever the start was like."""
    times = [float(n) for n in range(0, 1200, 2)]
    warm = [200 * MIB if t < 290 else 100 * MIB + int(t / 60 * MIB) for t in times]
    assert Samples(times, warm, [1] * len(times)).slope() == pytest.approx(10, abs=0.01)
