"""``deltaprop train``: train a model on a table and write it to a file."""

from __future__ import annotations

from typing import Annotated

import typer

from deltaprop.cli.choices import (
    ACTIVATIONS,
    LOSSES,
    PRESETS,
    SCHEDULES,
    SOLVERS,
    TASKS,
    one_of,
)
from deltaprop.cli.config import read_config, write_config
from deltaprop.cli.options import (
    AsJson,
    DataOptions,
    Memory,
    MetricName,
    ModelOptions,
    OutputOptions,
    Quiet,
    RunOptions,
    Tables,
    Verbose,
)
from deltaprop.cli.output import examples, require_writable
from deltaprop.cli.reading_options import reads_a_table
from deltaprop.cli.registry import app
from deltaprop.data.reading.options import ReadingOptions

Option = typer.Option


@app.command(
    epilog=examples(
        "deltaprop train data.csv --target species",
        "deltaprop train visits.parquet --target cost --groups patient --metric mae",
        "deltaprop train data.csv --target churn --class-weight balanced --report report.html",
        "deltaprop train --config train.toml",
    )
)
@reads_a_table
def train(
    context: typer.Context,
    table: Tables,
    reading: ReadingOptions,
    target: Annotated[str, Option(help="The column to predict.", metavar="COLUMN")],
    output: Annotated[
        str,
        Option(
            "-o",
            "--output",
            metavar="FILE",
            help="File or URL of the model. An existing file is replaced.",
        ),
    ] = "model.dp",
    task: Annotated[str, one_of("task", TASKS, "What is predicted")] = "auto",
    drop: Annotated[
        list[str] | None,
        Option(help="A column to leave out. May be given several times.", metavar="COLUMN"),
    ] = None,
    weight: Annotated[
        str | None, Option(help="The column of sample weights.", metavar="COLUMN")
    ] = None,
    groups: Annotated[
        str | None,
        Option(
            help="A column that names the group of each row, such as a person. The rows of one "
            "group are held out together, and the column is not learned from.",
            metavar="COLUMN",
        ),
    ] = None,
    time_column: Annotated[
        str | None,
        Option(
            help="A column of times. The latest rows are held out, --test-size of them (0.2 by "
            "default), and the scores are those on these rows.",
            metavar="COLUMN",
        ),
    ] = None,
    class_weight: Annotated[
        str | None,
        Option(
            help="Weights of the classes: balanced, or such as yes=5,no=1. Others have 1.",
            metavar="WEIGHTS",
        ),
    ] = None,
    cost: Annotated[
        str | None,
        Option(
            help="What wrong decisions between two classes cost, such as "
            "false_positive=1,false_negative=5. The class of the least expected cost is predicted.",
            metavar="COSTS",
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        Option(
            help="Probability above which the second of two classes is predicted, or the scorer "
            "that it maximizes on held-out rows, such as f1 or balanced_accuracy.",
            metavar="NUMBER",
        ),
    ] = None,
    metric: MetricName = None,
    test_size: Annotated[
        float | None,
        Option(
            help="Fraction of the rows held out to test the model on. By default, none: all rows "
            "train the model, and the scores are those of its cross-validation. Without a "
            "cross-validation, and with --report or --watch, it is 0.2.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[str, one_of("preset", PRESETS, "How much is trained")] = "default",
    time_limit: Annotated[
        float | None,
        Option(help="Seconds that the training may take.", metavar="SECONDS", show_default=False),
    ] = None,
    folds: Annotated[
        int,
        Option(
            "--cv",
            "--folds",
            metavar="NUMBER",
            help="Folds of the cross-validation, one network each; 1 for a single network, 0 "
            "for what the preset says.",
        ),
    ] = 0,
    hidden: Annotated[
        str,
        Option(
            help="Number of units of each hidden layer, such as 128,64; or auto.", metavar="SIZES"
        ),
    ] = "auto",
    activation: Annotated[
        str, one_of("activation", ACTIVATIONS, "Activation function of the hidden layers")
    ] = "silu",
    loss: Annotated[
        str, one_of("loss", LOSSES, "Loss function; auto is log_loss or squared_error")
    ] = "auto",
    solver: Annotated[str, one_of("solver", SOLVERS, "Optimizer")] = "adamw",
    epochs: Annotated[
        int | None,
        Option(
            help="Maximum number of epochs; by default, that of the preset.",
            metavar="NUMBER",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        int, Option(help="Batch size; 0 selects it automatically.", metavar="NUMBER")
    ] = 0,
    learning_rate: Annotated[
        float | None,
        Option(
            help="Initial learning rate; by default, that of the preset.",
            metavar="NUMBER",
            show_default=False,
        ),
    ] = None,
    schedule: Annotated[
        str, one_of("schedule", SCHEDULES, "Schedule of the learning rate")
    ] = "auto",
    l2: Annotated[
        float, Option(help="Strength of the L2 penalty (alpha).", metavar="NUMBER")
    ] = 0.0,
    dropout: Annotated[
        float | None,
        Option(
            help="Dropout probability of the hidden units; by default, that of the preset.",
            metavar="NUMBER",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, Option(help="Random seed; the same seed gives the same model.", metavar="NUMBER")
    ] = 0,
    noise: Annotated[
        float | None,
        Option(
            help="Train with differential privacy: the standard deviation of the noise, in units "
            "of --max-norm. The encoding of the table is not covered.",
            metavar="NUMBER",
        ),
    ] = None,
    max_norm: Annotated[
        float, Option(help="Maximum norm of the gradient of a row, with --noise.", metavar="NUMBER")
    ] = 1.0,
    page: Annotated[
        str | None,
        Option(
            "--report",
            metavar="FILE",
            help="Also write an HTML report on the model to this file.",
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    memory: Memory = None,
    watch: Annotated[
        bool, Option("--watch", help="Show the training, and then the model, in a browser.")
    ] = False,
    checkpoint: Annotated[
        str | None,
        Option(
            help="Folder in which to save checkpoints, and from which to resume training.",
            metavar="FOLDER",
        ),
    ] = None,
    checkpoint_seconds: Annotated[
        float, Option(help="Seconds between two checkpoints.", metavar="SECONDS")
    ] = 60.0,
    cluster: Annotated[
        str | None,
        Option(
            help="Address of the Ray cluster to train on; local starts one on this machine.",
            metavar="ADDRESS",
        ),
    ] = None,
    workers: Annotated[
        int, Option(help="Number of workers, with --cluster.", metavar="NUMBER")
    ] = 2,
    gpus: Annotated[bool, Option("--gpus", help="Use one GPU per worker, with --cluster.")] = False,
    config: Annotated[
        str | None,
        Option(
            help="A TOML file with values of these options, such as epochs = 50. Those on the "
            "command line have precedence.",
            metavar="FILE",
            callback=read_config,
            is_eager=True,
        ),
    ] = None,
    save_config: Annotated[
        str | None,
        Option(help="Write the options of this run to a TOML file.", metavar="FILE"),
    ] = None,
) -> None:
    """Train a model on a table and report its scores on held-out rows.

    Ctrl-C stops the training, saves the best weights so far, and exits with code 130. With
    --checkpoint, SIGTERM does the same and exits with code 143, and running the same command again
    resumes the training.
    """
    data = DataOptions(
        table, target, tuple(drop or ()), weight, task, test_size, seed, memory, groups,
        time_column, reading,
    )  # fmt: skip
    model = ModelOptions(
        hidden, activation, loss, dropout, l2, solver, epochs, batch_size, learning_rate, schedule,
        seed, noise, max_norm, preset, folds, time_limit, class_weight,
        cost, threshold,
    )  # fmt: skip
    run = RunOptions(checkpoint, checkpoint_seconds, watch, cluster, workers, gpus)
    outputs = OutputOptions(output, page, as_json, quiet, verbose, metric)
    if save_config is not None:
        require_writable(save_config, "--save-config")
        write_config(context, save_config)

    from deltaprop.cli.training import train_and_report

    train_and_report(data, model, run, outputs)
