"""``python -m benchmarks.tables``: list the tables, run contestants, write the report."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks import machine


def main(argv: list[str] | None = None) -> None:
    options = parsed(argv)
    try:
        options.command(options)
    except ValueError as error:
        raise SystemExit(str(error)) from error


def parsed(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tables",
        description="Compare deltaprop with other estimators on real tables.",
    )
    commands = parser.add_subparsers(required=True)
    listing = commands.add_parser("list", help="print the tables and the contestants")
    listing.set_defaults(command=show)
    running = commands.add_parser("run", help="run what is not in the file yet")
    running.set_defaults(command=run)
    _run_options(running.add_argument)
    checking = commands.add_parser("honesty", help="compare what models say of themselves")
    checking.set_defaults(command=honesty)
    checking.add_argument("--half", choices=("development", "held out"), default="development")
    checking.add_argument("--most-rows", type=float, default=math.inf)
    checking.add_argument(
        "--json", type=Path, metavar="FILE", help="write all results to this file"
    )
    for name, what in (("exports", "ONNX files"), ("code", "C, Python and light models")):
        exporting = commands.add_parser(name, help=f"compare {what} with the models")
        exporting.set_defaults(command=compare_exports, kind=name)
        exporting.add_argument("--tables", type=_words, metavar="A,B", help="only these tables")
        exporting.add_argument("--json", type=Path, metavar="FILE", help="write all results to it")
    reporting = commands.add_parser("report", help="write report.md and its pictures")
    reporting.set_defaults(command=report)
    add = reporting.add_argument
    add("results", type=Path, metavar="RESULTS.parquet")
    add("--out", type=Path, default=Path("tables_report"), metavar="FOLDER")
    add("--half", choices=("development", "held out", "both"), default="both")
    add(
        "--contestants",
        type=_words,
        metavar="A,B",
        help="default: those in the file that take part in tables of every size",
    )
    paging = commands.add_parser("page", help="write docs/tables_benchmark.md")
    paging.set_defaults(command=page_of_docs)
    ablating = commands.add_parser("ablation", help="print what each ingredient contributes")
    ablating.set_defaults(command=ablation)
    ablating.add_argument("results", type=Path, nargs="+", metavar="RESULTS.parquet")
    return parser.parse_args(argv)


def _run_options(add: Callable[..., Any]) -> None:
    add("results", type=Path, metavar="RESULTS.parquet")
    add(
        "--half",
        choices=("development", "held out", "both"),
        default="development",
        help="which tables (default development; the other half is for the final report)",
    )
    add("--tables", type=_words, metavar="A,B", help="only these tables")
    add("--contestants", type=_words, metavar="A,B", help="only these contestants")
    add(
        "--ours",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "JSON"),
        help="a further contestant: deltaprop with these parameters, such as "
        """'deltaprop wide' '{"hidden_layer_sizes": [512, 512]}'""",
    )
    add("--ablation", action="store_true", help="only the default, and it without each ingredient")
    add("--most-rows", type=float, default=math.inf, help="leave out larger tables")
    add("--seeds", type=int, default=5, help="at most so many seeds of each table (default 5)")
    add("--threads", type=int, default=2, help="threads of each fit (default 2)")
    add("--limit", type=float, default=600, help="seconds of a fit (default 600)")
    add("--seconds", type=float, default=math.inf, help="start no fit after this time")
    add("--again", action="store_true", help="run fits again that failed")
    add("--most-others", type=float, default=math.inf, metavar="PROCESSORS",
        help="run fits again during which other programs used more")  # fmt: skip


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


# ---------------------------------------------------------------- commands


def show(options: argparse.Namespace) -> None:
    from benchmarks.tables.contestants import CONTESTANTS
    from benchmarks.tables.registry import HALVES, TABLES

    for half, names in HALVES.items():
        print(f"{half}:")
        for name in names:
            table = TABLES[name]
            print(
                f"  {name:24}{table.rows:>8,}  {table.task:15}{table.target:22}"
                f"{table.source}: {table.item}"
            )
            for column, reason in table.drop.items():
                print(f"{'':36}without {column}: {reason}")
    print("contestants:", ", ".join(CONTESTANTS))


def run(options: argparse.Namespace) -> None:
    machine.pin(options.threads)  # before any library is imported
    from benchmarks.tables.ablation import VARIANTS
    from benchmarks.tables.contestants import CONTESTANTS, OURS, Contestant, deltaprop
    from benchmarks.tables.registry import HALVES, TABLES
    from benchmarks.tables.results import Results
    from benchmarks.tables.running import Plan
    from benchmarks.tables.running import run as run_plan

    own = {name: Contestant(deltaprop, json.loads(text)) for name, text in options.ours}
    known = {OURS: CONTESTANTS[OURS], **VARIANTS} if options.ablation else {**CONTESTANTS, **own}
    contestants = _chosen("--contestants", options.contestants, known)
    halves = HALVES if options.half == "both" else [options.half]
    tables = {name: TABLES[name] for half in halves for name in HALVES[half]}
    plan = Plan(
        [t for t in _chosen("--tables", options.tables, tables).values()
         if t.rows <= options.most_rows],
        contestants,
        seeds=options.seeds, threads=options.threads, limit=options.limit,
        seconds=options.seconds, again=options.again, most_others=options.most_others,
    )  # fmt: skip
    left = run_plan(plan, Results(options.results), lambda line: print(line, flush=True))
    print(f"{left} fits are left; the same command goes on with them." if left else "All done.")


def honesty(options: argparse.Namespace) -> None:
    machine.pin(2)  # before any library is imported
    from benchmarks.tables.honesty import measure, summary
    from benchmarks.tables.registry import HALVES, TABLES

    tables = [TABLES[name] for name in HALVES[options.half]]
    small = [table for table in tables if table.rows <= options.most_rows]
    found = measure(small, lambda line: print(line, flush=True))
    if options.json is not None:
        options.json.write_text(found.to_json(orient="records", indent=1))
    print(summary(found))


def compare_exports(options: argparse.Namespace) -> None:
    machine.pin(2)  # before any library is imported
    from benchmarks.tables import code, exports
    from benchmarks.tables.registry import TABLES

    kind = {"exports": exports, "code": code}[options.kind]
    tables = _chosen("--tables", options.tables, TABLES).values()
    found = kind.measure(tables, lambda line: print(line, flush=True))
    if options.json is not None:
        options.json.write_text(found.to_json(orient="records", indent=1, default_handler=str))
    print(kind.summary(found))


def report(options: argparse.Namespace) -> None:
    from benchmarks.tables import report as page
    from benchmarks.tables.results import read

    found = read(options.results)
    if options.half != "both":
        found = found[found["half"] == options.half]
    known = dict.fromkeys(page.contestants_of(found))
    names = options.contestants or [name for name in known if page.in_all_sizes(name)]
    print(page.write(found, options.out, list(_chosen("--contestants", names, known))))


def page_of_docs(options: argparse.Namespace) -> None:
    from benchmarks.tables import page

    print(page.write())


def ablation(options: argparse.Namespace) -> None:
    import pandas as pd

    from benchmarks.tables.ablation import table
    from benchmarks.tables.contestants import CONTESTANTS, OURS
    from benchmarks.tables.results import read

    found = pd.concat([read(path) for path in options.results])
    found = found.drop_duplicates(["table", "seed", "contestant"])
    peers = [name for name in CONTESTANTS if not name.startswith(OURS)]
    print(table(found, [name for name in peers if name in set(found["contestant"])]))


def _chosen(option: str, names: Iterable[str] | None, known: dict[str, Any]) -> dict[str, Any]:
    """Return the named ones, or all."""
    if names is None:
        return known
    for name in names:
        if name not in known:
            raise ValueError(f"{option} takes names of {', '.join(known)}; got {name!r}.")
    return {name: known[name] for name in names}


if __name__ == "__main__":
    main()
