"""``python -m benchmarks.page PAGE FILE …``: write docs/benchmarks.md from measured results.

The files are those that ``--json`` of ``python -m benchmarks`` and of ``python -m benchmarks.busy``
wrote; several of each are joined. Everything is measured, in hours, by

    python -m benchmarks --busy 0 1 2 3 4 --json cases.json
    python -m benchmarks.busy --case all --json fits.json
    python -m benchmarks.page docs/benchmarks.md cases.json fits.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.busy import OURS, at_least, over_better

Record = dict[str, Any]
DESCRIPTION = (
    "Write a page from the results of python -m benchmarks and of python -m benchmarks.busy."
)

INTRODUCTION = """# Benchmarks

The times of deltaprop and other libraries on quiet cores, and on cores that other programs use as
well: beside busy processes, which are plain Python loops that may run on the same cores. These
commands wrote the page:

```
{commands}
```

{machine}
"""
FRESH = """## In fresh processes, beside busy processes

Seconds of a fit. Each library runs in {processes} new processes, which take turns. The time of a
process is the median of up to {fits} fits after a first one. The table shows the median of the
processes and, in parentheses, the slowest one, with ≥ if fits were stopped after {limit} s. A
number after a name limits the threads; without one, the library uses its default. The last column
is deltaprop's time at its default divided by the better of its times with one and with two threads.
Compare the times within a row: rows were measured on different days, and the speed of the machine
differs from day to day.
"""
TURNS = """## All cases

The libraries take turns in one process, each at its default number of threads. Columns after the
second are multiples of deltaprop's time, medians of up to {turns} turns: above 1, deltaprop is
faster. "floor" is the time of the matrix products alone plus one pass over the optimizer state
([how it is measured](engines.md#speed)).

Other columns whose name begins with deltaprop are other ways to do the same: "bfloat16" is
`precision="bfloat16"`, "deltaprop.fit" and "Network" go without an estimator, "encoded" fits to
rows that are encoded already, and "at once" is `dp.cross_validate` in place of `GridSearchCV`.
Cells are empty where a library was not measured.
"""
SIMPLECHAINS = """## The network of SimpleChains.jl's announcement

4 → 32 → 16 → 4 with tanh learns the exponential of 2 × 2 matrices: 10,000 rows, all in one batch,
squared error, Adam, float32, 10,000 epochs. The first rows were measured here on {cores} cores. A
turn is {passes} epochs, and its time is multiplied to 10,000. The other rows were not measured here
but read in the [announcement](https://julialang.org/blog/2022/04/simple-chains/). They are from
other machines with more cores, so only the ratios between libraries on the same machine compare.
"""
# Seconds for 10,000 epochs after compilation, as the announcement reports them.
READ_THERE = (
    ("Intel i9-10980XE, 18 cores", "SimpleChains.jl", "0.41"),
    ("Intel i9-10980XE, 18 cores", "PyTorch", "15.2"),
    ("Intel i9-10980XE, 18 cores", "JAX", "9.0"),
    ("AMD EPYC 7513, 32 cores", "SimpleChains.jl", "0.72"),
    ("AMD EPYC 7513, 32 cores", "PyTorch", "68 to 74"),
    ("AMD Ryzen 9 5950X, 16 cores", "SimpleChains.jl", "1.3"),
    ("AMD Ryzen 9 5950X, 16 cores", "JAX", "13.9"),
    ("unknown, 6 cores", "SimpleChains.jl", "9.2"),
    ("unknown, 6 cores", "JAX", "19 to 20"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=DESCRIPTION)
    parser.add_argument("page", type=Path, metavar="PAGE", help="the file to write (Markdown)")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="what --json wrote")
    options = parser.parse_args()
    reports = [json.loads(file.read_text()) for file in options.files]
    options.page.write_text(rendered(reports, machine.command("benchmarks.page")))


def rendered(reports: list[Record], command: str) -> str:
    """Return the page that `command` writes.

    There must be at least one report of each of the two programs.
    """
    cases, fits = joined(reports, "cases"), joined(reports, "fresh_processes")
    if not cases["records"] or not fits["records"]:
        raise SystemExit("expected a file of python -m benchmarks and one of .busy")
    parts = [
        INTRODUCTION.format(
            commands="\n".join([*(report["command"] for report in reports), command]),
            machine="\n".join(unique(measured_on(report["machine"]) for report in reports))
            + others_used(cases["records"] + fits["records"]),
        ),
        FRESH.format(**fits["settings"]),
        *fresh_tables(fits["records"]),
        TURNS.format(**cases["settings"]),
        *case_tables(cases["records"]),
        *simplechains(cases["records"], cases["settings"]["threads"]),
    ]
    return "\n".join(parts)


def joined(reports: list[Record], key: str) -> Record:
    """Return the records of all reports that have the key, and their settings, as in "2 or 4"."""
    with_key = [report for report in reports if key in report]
    settings = [report["settings"] for report in with_key]
    names = settings[0] if settings else ()
    return {
        "records": [record for report in with_key for record in report[key]],
        "settings": {
            name: " or ".join(unique(_written(each[name]) for each in settings)) for name in names
        },
    }


def _written(setting: Any) -> str:
    return f"{setting:g}" if isinstance(setting, int | float) else str(setting)


def measured_on(facts: Record) -> str:
    """Return a sentence on the machine and its versions."""
    names = {"Python": facts["python"], **facts["versions"]}
    versions = ", ".join(f"{name} {version}" for name, version in names.items())
    return (
        f"Measured on {facts['date'][:10]} on {facts['used'] or facts['processors']} of "
        f"{facts['processors']} cores, {facts['processor']}, in float32, with {versions}."
    )


def others_used(records: list[Record]) -> str:
    """Return a sentence on the load by programs that were not part of the measurement."""
    known = [used for r in records if (used := r["processors_used_by_others"]) is not None]
    return f"\nOther programs used up to {max(known):.1f} of these cores." if known else ""


# ---------------------------------------------------------------- fits in fresh processes


def fresh_tables(records: list[Record]) -> list[str]:
    """Return a table for each case, with a row for each number of busy processes."""
    parts = []
    for title in unique(record["title"] for record in records):
        of_case = [record for record in records if record["title"] == title]
        names = unique(name for record in of_case for name in _ran(record))
        rows = [
            [str(r["busy"]), *(_median_and_worst(r["contestants"].get(name)) for name in names),
             _ratio(r)] for r in sorted(of_case, key=lambda r: r["busy"])
        ]  # fmt: skip
        head = ["busy processes", *names, f"{OURS} ÷ better of 1 and 2"]
        parts.append(f"**{title}**\n\n{table(head, rows)}")
    return parts


def _median_and_worst(it: Record | None) -> str:
    if not it or "median" not in it:
        return ""
    return f"{at_least(it)}{it['median']:.3g} ({it['worst']:.3g})"


def _ratio(record: Record) -> str:
    median, worst = over_better(record, "median"), over_better(record, "worst")
    return f"{median:.2f} ({worst:.2f})" if median and worst else ""


# ---------------------------------------------------------------- turns in one process


def case_tables(records: list[Record]) -> list[str]:
    """Return a table for each number of busy processes, with a row for each case."""
    return [
        f"### {'Beside' if busy else 'With'} {processes(busy)}\n\n"
        + _case_table([record for record in records if record["busy"] == busy])
        for busy in unique(record["busy"] for record in records)
    ]


def _case_table(records: list[Record]) -> str:
    names = unique(name for record in records for name in _ran(record) if name != OURS)
    rows = [
        [r["title"], f"{_number(r['contestants'][OURS]['median'])} {r['unit']}",
         *(_times(r["contestants"].get(name)) for name in names)] for r in records
    ]  # fmt: skip
    return table(["", OURS, *names], rows)


def _times(it: Record | None) -> str:
    return f"{it['over_ours']:.2f}" if it and it["over_ours"] else ""


# ---------------------------------------------------------------- SimpleChains.jl


def simplechains(records: list[Record], cores: int) -> list[str]:
    """Return the section with our times and those of the announcement, if the case ran."""
    from benchmarks.problem import PROBLEMS

    problem = next(problem for problem in PROBLEMS if problem.name == "simplechains")
    measured = [
        [f"here, {processes(r['busy'])}", name, _number(it["median"])]
        for r in records
        if r["name"] == problem.name
        for name, it in r["contestants"].items()
        if it["median"]
    ]
    if not measured:
        return []
    read = [[f"{where} (read there)", *rest] for where, *rest in READ_THERE]
    return [
        SIMPLECHAINS.format(cores=cores, passes=problem.passes),
        table(["machine", "library", "seconds for 10,000 epochs"], measured + read),
    ]


# ---------------------------------------------------------------- Markdown


def processes(busy: int) -> str:
    return f"{busy or 'no'} busy process{'' if busy == 1 else 'es'}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table; the first column is aligned left, the others right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def unique(values: Iterable[Any]) -> list[Any]:
    """Return the values without repetitions, in the order of their first appearance."""
    return list(dict.fromkeys(values))


def _ran(record: Record) -> list[str]:
    return [name for name, it in record["contestants"].items() if it.get("median")]


def _number(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


if __name__ == "__main__":
    main()
