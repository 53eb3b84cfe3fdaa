"""Figures: counted in each process, added up for who asks."""

import json

from cmail.observe import metrics


def test_figures_of_all_processes_add_up() -> None:
    """Counters and gauges are summed, what every process tells the same is not; strangers are left out."""
    one = {"cmail_messages_accepted_total": {"": 3}, "cmail_link_up": {"": 1}}
    two = {
        "cmail_messages_accepted_total": {"": 4},
        "cmail_link_up": {"": 1},
        "cmail_recipients_delivered_total": {"smtp": 2},
        "unknown": {"": 1},
    }
    total = metrics.total([one, two])
    assert total["cmail_messages_accepted_total"] == {"": 7}
    assert total["cmail_link_up"] == {"": 1}
    assert total["cmail_recipients_delivered_total"] == {"smtp": 2}
    assert "unknown" not in total


def test_a_snapshot_travels_as_json() -> None:
    """What the control socket carries is what was counted."""
    metrics.REFUSALS.of("RCPT").value += 1
    found = metrics.snapshot()
    assert json.loads(json.dumps(found)) == found
    assert found["cmail_refusals_total"]["RCPT"] >= 1


def test_the_table_keeps_prometheus_rules() -> None:
    """Counters end in _total, gauges do not, each has a sentence (all of the table is read)."""
    for name, metric in metrics.METRICS.items():
        assert name == metric.name
        assert name.startswith("cmail_")
        assert name.endswith("_total") != metric.is_gauge, name
        assert metric.help.endswith("."), name
