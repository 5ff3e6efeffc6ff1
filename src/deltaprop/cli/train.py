"""``deltaprop train``: train a model on a table and write it to a file."""

from __future__ import annotations

from typing import Annotated

import typer

from deltaprop.cli.options import (
    AsJson,
    DataOptions,
    Memory,
    ModelOptions,
    OutputOptions,
    RunOptions,
    Tables,
)
from deltaprop.cli.reading_options import reads_a_table
from deltaprop.cli.registry import app
from deltaprop.data.reading.options import ReadingOptions

Option = typer.Option


@app.command()
@reads_a_table
def train(
    table: Tables,
    reading: ReadingOptions,
    target: Annotated[str, Option(help="The column to predict.")],
    output: Annotated[
        str,
        Option("-o", "--output", help="File or URL of the model. An existing file is replaced."),
    ] = "model.dp",
    task: Annotated[str, Option(help="auto, classification or regression.")] = "auto",
    drop: Annotated[
        list[str] | None, Option(help="A column to leave out. May be given several times.")
    ] = None,
    weight: Annotated[str | None, Option(help="The column of sample weights.")] = None,
    test_size: Annotated[
        float | None,
        Option(
            help="Fraction of the rows held out to test the model on. By default, none: all rows "
            "train the model, and the scores are those of its cross-validation. Without a "
            "cross-validation, and with --report or --watch, it is 0.2.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[str, Option(help="fast, default or best.")] = "default",
    time_limit: Annotated[
        float | None, Option(help="Seconds that the training may take.", show_default=False)
    ] = None,
    folds: Annotated[
        int,
        Option(
            help="Folds of the cross-validation, one network each; 1 for a single network, 0 "
            "for what the preset says."
        ),
    ] = 0,
    hidden: Annotated[
        str, Option(help="Number of units of each hidden layer, such as 128,64; or auto.")
    ] = "auto",
    activation: Annotated[str, Option(help="Activation function of the hidden layers.")] = "silu",
    loss: Annotated[str, Option(help="Loss function, or auto for the task's default.")] = "auto",
    solver: Annotated[str, Option(help="Optimizer: adamw, adam, muon, sgd or lbfgs.")] = "adamw",
    epochs: Annotated[
        int | None,
        Option(
            help="Maximum number of epochs; by default, that of the preset.", show_default=False
        ),
    ] = None,
    batch_size: Annotated[int, Option(help="Batch size; 0 selects it automatically.")] = 0,
    learning_rate: Annotated[
        float | None,
        Option(help="Initial learning rate; by default, that of the preset.", show_default=False),
    ] = None,
    schedule: Annotated[
        str, Option(help="Learning rate schedule: auto, constant, cosine, one_cycle, …")
    ] = "auto",
    l2: Annotated[float, Option(help="Strength of the L2 penalty (alpha).")] = 0.0,
    dropout: Annotated[
        float | None,
        Option(
            help="Dropout probability of the hidden units; by default, that of the preset.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, Option(help="Random seed; the same seed gives the same model.")] = 0,
    noise: Annotated[
        float | None,
        Option(
            help="Train with differential privacy: the standard deviation of the noise, in units "
            "of --max-norm. The encoding of the table is not covered."
        ),
    ] = None,
    max_norm: Annotated[
        float, Option(help="Maximum norm of the gradient of a row, with --noise.")
    ] = 1.0,
    page: Annotated[
        str | None, Option("--report", help="Also write an HTML report on the model to this file.")
    ] = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, Option("--quiet", help="Print no progress and no scores.")] = False,
    memory: Memory = None,
    watch: Annotated[
        bool, Option("--watch", help="Show the training, and then the model, in a browser.")
    ] = False,
    checkpoint: Annotated[
        str | None,
        Option(help="Folder in which to save checkpoints, and from which to resume training."),
    ] = None,
    checkpoint_seconds: Annotated[float, Option(help="Seconds between two checkpoints.")] = 60.0,
    cluster: Annotated[
        str | None,
        Option(help="Address of the Ray cluster to train on; local starts one on this machine."),
    ] = None,
    workers: Annotated[int, Option(help="Number of workers, with --cluster.")] = 2,
    gpus: Annotated[bool, Option("--gpus", help="Use one GPU per worker, with --cluster.")] = False,
) -> None:
    """Train a model on a table and report its scores on held-out rows.

    Ctrl-C stops the training, saves the best weights so far, and exits with code 130. With
    --checkpoint, SIGTERM does the same and exits with code 143, and running the same command again
    resumes the training.
    """
    data = DataOptions(
        table, target, tuple(drop or ()), weight, task, test_size, seed, memory, reading
    )
    model = ModelOptions(
        hidden, activation, loss, dropout, l2, solver, epochs, batch_size, learning_rate, schedule,
        seed, noise, max_norm, preset, folds, time_limit,
    )  # fmt: skip
    run = RunOptions(checkpoint, checkpoint_seconds, watch, cluster, workers, gpus)
    outputs = OutputOptions(output, page, as_json, quiet)

    from deltaprop.cli.training import train_and_report

    train_and_report(data, model, run, outputs)
