"""``python -m benchmarks.scaling``: measure, fit, test on held-out points, extrapolate.

With ``--load FILE`` nothing is measured; the points come from a file that ``--json`` wrote.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.scaling.model import Costs, Point, errors, fit

ROWS, ROW_BYTES = 10**10, 4 * 29
# A typical cloud network: 25 Gbit/s, 30 µs per message; workers with 16 cores.
LATENCY, BANDWIDTH, CORES = 30e-6, 25e9 / 8, 16
LARGE = {"28 → 128 → 64 → 2": 11_904, "28 → 512 → 512 → 1": 277_000, "8 layers of 1024": 8_390_000}
WORKERS, LOCAL = (1, 10, 100, 1000), (1024, 16_384)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling")
    parser.add_argument("--json", type=Path, help="write the measured points to this file")
    parser.add_argument("--load", type=Path, help="measure nothing; read the points from this file")
    options = parser.parse_args()
    if options.load:
        points = [Point(**point) for point in json.loads(options.load.read_text())]
    else:
        from benchmarks.scaling.measure import measured

        points = measured()
    if options.json:
        options.json.write_text(json.dumps([asdict(point) for point in points], indent=1))
    costs = tested(points)
    extrapolated(costs)


def tested(points: list[Point]) -> Costs:
    """Fit the costs to every other point, and print their errors at the others."""
    known, held_out = points[::2], points[1::2]
    costs = fit(known)
    print(f"measured {len(points)} points; fitted to {len(known)}")
    print(
        f"a step: {1e6 * costs.fixed:.0f} µs + {1e-9 / costs.flop:.1f} Gflop/s + "
        f"{1e9 * costs.parameter:.2f} ns per parameter; all-reduce: "
        f"{1e6 * costs.latency:.0f} µs per round + {1e-9 / max(costs.byte, 1e-12):.2f} GB/s; "
        f"spread of steps {costs.spread:.2f}"
    )
    print("\nheld out                           workers  batch  measured, µs  predicted    error")
    for point, error in zip(held_out, errors(costs, held_out), strict=True):
        print(
            f"{point.network:34} {point.workers:7} {point.batch:6} {1e6 * point.seconds:13,.0f} "
            f"{1e6 * point.seconds * (1 + error):10,.0f} {100 * error:7.0f} %"
        )
    sizes = sorted(abs(error) for error in errors(costs, held_out))
    print(f"median error {100 * sizes[len(sizes) // 2]:.0f} %, largest {100 * sizes[-1]:.0f} %")
    return costs


def extrapolated(measured: Costs) -> None:
    """Print the times of an epoch of 10¹⁰ rows, from the model."""
    costs = measured.on(LATENCY, BANDWIDTH, CORES)
    print(
        f"\n{ROWS:.0e} rows on workers of {CORES} cores, {8e-9 * BANDWIDTH:.0f} Gbit/s between them"
    )
    print(
        "network                 workers   rows each  minutes per epoch efficiency  break-even b*"
    )
    for name, parameters in LARGE.items():
        for local in LOCAL:
            alone = costs.rows_a_second(parameters, 1, local)
            for workers in WORKERS:
                rate = costs.rows_a_second(parameters, workers, local * workers)
                rate = min(rate, workers * BANDWIDTH / ROW_BYTES)  # rows come over the same network
                print(
                    f"{name:22} {workers:8} {local:11} {ROWS / rate / 60:17,.1f} "
                    f"{100 * rate / alone / workers:9.0f} % "
                    f"{costs.rows_that_pay(parameters, workers):13,.0f}"
                )


if __name__ == "__main__":
    main()
