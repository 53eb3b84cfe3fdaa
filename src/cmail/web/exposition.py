"""Figures as Prometheus reads them."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from cmail.observe.metrics import METRICS, Snapshot

CONTENT_TYPE = CONTENT_TYPE_LATEST


def expose(figures: Snapshot, version: str, started_s: float) -> bytes:
    """The text of /metrics: what all processes counted together."""
    registry = CollectorRegistry()
    registry.register(_Figures(figures, version, started_s))
    return generate_latest(registry)


class _Figures(Collector):
    def __init__(self, figures: Snapshot, version: str, started_s: float) -> None:
        self._figures = figures
        self._version = version
        self._started_s = started_s

    def collect(self) -> Iterator[Metric]:
        """One family for each row of the table in observe/metrics."""
        info = GaugeMetricFamily("cmail_info", "The version that runs.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info
        yield GaugeMetricFamily("cmail_start_time_seconds", "When it started.", self._started_s)
        for metric in METRICS.values():
            family = GaugeMetricFamily if metric.is_gauge else CounterMetricFamily
            found = family(metric.name, metric.help, labels=[metric.label] if metric.label else [])
            for value, number in sorted(self._figures.get(metric.name, {}).items()):
                found.add_metric([value] if metric.label else [], number)
            yield found
