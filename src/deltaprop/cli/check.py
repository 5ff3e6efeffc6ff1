"""``deltaprop check``: verify a model's equations numerically."""

from __future__ import annotations

import typer

from deltaprop.cli.options import AsJson, ModelFile, TableFile
from deltaprop.cli.output import examples, print_json, say
from deltaprop.cli.reading_options import reads_a_table
from deltaprop.cli.registry import app
from deltaprop.data.reading.options import ReadingOptions

N_ROWS = 20


@app.command(epilog=examples("deltaprop check model.dp data.csv"))
@reads_a_table
def check(
    model: ModelFile, table: TableFile, reading: ReadingOptions, as_json: AsJson = False
) -> None:
    """Verify every equation of a model's networks numerically, on the first rows of a table.

    Of an ensemble, each line is about the member for which the equation is furthest from holding.
    Exits with code 1 if an equation does not hold.
    """
    from deltaprop.cli.models import load_tabular
    from deltaprop.cli.tables import rows_with_target

    fitted = load_tabular(model)
    X, y = rows_with_target(fitted, model, table, reading)
    verification = fitted.check(X.head(N_ROWS), y.head(N_ROWS))
    n = len(fitted.members_)
    if as_json:
        print_json(
            {
                "ok": verification.ok,
                "conclusion": verification.conclusion,
                "members": n,
                "equations": [vars(row) for row in verification.rows],
            }
        )
    else:
        say(verification)
        if n > 1:
            print(f"Each equation was verified for all {n} members; the worst one is shown.")
    if not verification.ok:
        raise typer.Exit(1)
