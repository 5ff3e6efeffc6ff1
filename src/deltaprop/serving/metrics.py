"""Prometheus metrics in the text format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096, 16384)

Labels = tuple[str, ...]


class Metric:
    """A counter or a gauge, with a value for each combination of labels. Threads may share it."""

    def __init__(self, kind: str, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self.kind, self.name, self.help, self.labels = kind, name, help, tuple(labels)
        self._values: dict[Labels, float] = {} if labels else {(): 0.0}
        self._lock = threading.Lock()

    def add(self, amount: float, *labels: str) -> None:
        """Increase the value."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0.0) + amount

    def set(self, value: float, *labels: str) -> None:
        """Replace the value, and remove those of all other labels."""
        with self._lock:
            self._values = {labels: value}

    def value(self, *labels: str) -> float:
        """The present value."""
        return self._values.get(labels, 0.0)

    def lines(self) -> Iterable[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"
        with self._lock:
            values = sorted(self._values.items())
        for labels, value in values:
            yield _line(self.name, self.labels, labels, value)


class Histogram:
    """How many observations are at most as large as each bound."""

    def __init__(
        self, name: str, help: str, bounds: Sequence[float], labels: Sequence[str] = ()
    ) -> None:
        self.name, self.help, self.bounds, self.labels = name, help, bounds, tuple(labels)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        self._lock = threading.Lock()

    def observe(self, value: float, *labels: str) -> None:
        """Count a value."""
        place = bisect_left(self.bounds, value)
        with self._lock:
            counts = self._counts.setdefault(labels, [0] * (len(self.bounds) + 1))
            counts[place] += 1
            self._sums[labels] = self._sums.get(labels, 0.0) + value

    def lines(self) -> Iterable[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} histogram"
        with self._lock:
            counts = {labels: list(found) for labels, found in self._counts.items()}
            sums = dict(self._sums)
        for labels in sorted(counts):
            total = 0
            for bound, count in zip((*self.bounds, "+Inf"), counts[labels], strict=True):
                total += count
                names, own = (*self.labels, "le"), (*labels, str(bound))
                yield _line(f"{self.name}_bucket", names, own, total)
            yield _line(f"{self.name}_sum", self.labels, labels, sums[labels])
            yield _line(f"{self.name}_count", self.labels, labels, total)


class Metrics:
    """The metrics of a server."""

    def __init__(self) -> None:
        counter, gauge = "counter", "gauge"
        self.requests = Metric(
            counter, "deltaprop_requests_total", "Requests.", ("path", "method", "status")
        )
        self.seconds = Histogram(
            "deltaprop_request_seconds", "Time to answer a request.", SECONDS, ("path",)
        )
        self.rows = Metric(counter, "deltaprop_rows_total", "Predicted rows.")
        self.batch_rows = Histogram(
            "deltaprop_batch_rows", "Rows that were predicted together.", ROWS
        )
        self.batch_seconds = Histogram(
            "deltaprop_batch_seconds", "Time to predict a batch.", SECONDS
        )
        self.waiting = Metric(gauge, "deltaprop_waiting_rows", "Rows that wait or are predicted.")
        self.reloads = Metric(
            counter, "deltaprop_reloads_total", "Reloads of the model file.", ("outcome",)
        )
        self.stale = Metric(
            gauge, "deltaprop_model_stale", "1 if a newer model file could not be loaded."
        )
        self.model = Metric(
            gauge, "deltaprop_model_info", "The model that is served.", ("name", "version")
        )

    def batch(self, rows: int, seconds: float) -> None:
        """Count a batch."""
        self.rows.add(rows)
        self.batch_rows.observe(rows)
        self.batch_seconds.observe(seconds)

    def text(self) -> str:
        """All metrics, as Prometheus reads them."""
        return "".join(f"{line}\n" for metric in vars(self).values() for line in metric.lines())


def _line(name: str, names: Labels, labels: Labels, value: float) -> str:
    inside = ",".join(
        f'{key}="{_escaped(label)}"' for key, label in zip(names, labels, strict=True)
    )
    return f"{name}{{{inside}}} {value:.17g}" if inside else f"{name} {value:.17g}"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
