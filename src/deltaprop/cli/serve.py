"""``deltaprop serve``: predictions over HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from deltaprop.cli.options import ModelFile
from deltaprop.cli.output import examples
from deltaprop.cli.registry import app
from deltaprop.errors import InputError

VARIABLE = "DELTAPROP_TOKEN"
Option = typer.Option


@app.command(
    epilog=examples(
        "deltaprop serve model.dp",
        "deltaprop serve model.dp --host 0.0.0.0 --port 80 --token-file /run/secrets/token",
        "curl 127.0.0.1:8000/predict -H 'Content-Type: application/json' -d @rows.json",
    )
)
def serve(
    model: ModelFile,
    host: Annotated[
        str,
        Option(
            metavar="ADDRESS",
            help="Where to listen. The default can only be reached from this machine; 0.0.0.0 can "
            "be reached by others.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, Option(metavar="NUMBER", min=0, max=65535, help="0 chooses a free one.")
    ] = 8000,
    name: Annotated[
        str | None,
        Option(metavar="NAME", help="Name of the model in paths; by default, that of the file."),
    ] = None,
    token: Annotated[
        str | None,
        Option(
            metavar="TOKEN",
            help="Requests must send this bearer token. Others on the machine can see options; "
            f"rather use --token-file or the environment variable {VARIABLE}.",
        ),
    ] = None,
    token_file: Annotated[str | None, Option(metavar="FILE", help="A file with the token.")] = None,
    max_rows: Annotated[
        int, Option(metavar="NUMBER", min=1, help="Rows that a request may have.")
    ] = 10_000,
    max_mb: Annotated[
        int, Option("--max-mb", metavar="NUMBER", min=1, help="Size of a request in MiB.")
    ] = 16,
    reload_seconds: Annotated[
        float,
        Option(
            metavar="SECONDS",
            min=0.01,
            help="How often to look whether the model file has been replaced.",
        ),
    ] = 1.0,
) -> None:
    """Answer requests for predictions over HTTP, in JSON or Arrow.

    The paths are /predict and those of the Open Inference Protocol (/v2/...); /docs shows an
    example. A replaced model file is loaded without an interruption. Ctrl-C and SIGTERM end the
    server after it has answered what it has received.
    """
    from deltaprop.serving import Limits
    from deltaprop.serving import serve as run
    from deltaprop.serving.limits import MIB

    run(
        model, host=host, port=port, name=name, token=_token(token, token_file),
        limits=Limits(body=max_mb * MIB, rows=max_rows), reload_seconds=reload_seconds,
    )  # fmt: skip


def _token(given: str | None, file: str | None) -> str | None:
    if given is not None and file is not None:
        raise InputError("Give either --token or --token-file.")
    if file is not None:
        try:
            given = Path(file).read_text().strip()
        except (OSError, ValueError) as error:
            raise InputError(f"--token-file: {file!r} cannot be read ({error}).") from error
    found = os.environ.get(VARIABLE) if given is None else given
    if found == "":
        raise InputError(f"The token is empty (--token, --token-file or {VARIABLE}).")
    return found
