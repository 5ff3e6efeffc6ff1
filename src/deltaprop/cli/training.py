"""What ``deltaprop train`` does: fit a model, save it, and report on it."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import typer

from deltaprop.cli import report
from deltaprop.cli.metrics import checked_metric
from deltaprop.cli.models import save_model
from deltaprop.cli.options import DataOptions, ModelOptions, OutputOptions, RunOptions
from deltaprop.cli.output import note, print_json, require_writable
from deltaprop.cli.tables import TrainingData, is_streamed, training_data
from deltaprop.errors import InputError
from deltaprop.estimators import TabularClassifier, TabularRegressor
from deltaprop.estimators.tabular.folds import folds_for
from deltaprop.inspect.comparison import Comparison, Judged, in_cross_validation, on_rows
from deltaprop.inspect.leakage import suspected_leaks
from deltaprop.training.callbacks import Callback
from deltaprop.training.checkpoint import Checkpoint
from deltaprop.training.history import Epoch
from deltaprop.training.progress import Progress

if TYPE_CHECKING:
    from deltaprop.cli.models import Tabular
    from deltaprop.inspect.interactive import Watch


TEST_SIZE = 0.2
BASELINE_FOLDS = 3


class Trained(NamedTuple):
    """A model whose training has ended or was interrupted."""

    model: Tabular
    data: TrainingData
    seconds: float

    @property
    def n_epochs(self) -> int:
        return sum(member.n_iter_ for member in self.model.members_)

    @property
    def interrupted(self) -> bool:
        return self.model.interrupted_by() is not None

    @property
    def signal(self) -> int:
        """The signal that interrupted the training."""
        return self.model.interrupted_by() or int(signal.SIGINT)


def train_and_report(
    data_options: DataOptions,
    model_options: ModelOptions,
    run: RunOptions,
    outputs: OutputOptions,
) -> None:
    """Train a model, write it to a file, and print or write the requested results.

    Raises
    ------
    InputError
        If an option, the table or a file is invalid. All of them are checked before the training.
    typer.Exit
        If a signal interrupted the training; the exit code is 128 + its number, as in shells.
    """
    _check(run, outputs)
    _check_options(data_options, model_options, run)
    data_options = _with_test_size(data_options, model_options, run, outputs)
    data = training_data(data_options)
    if data.overview is not None and not outputs.quiet:
        note(str(data.overview))
    checked_metric(outputs.metric, data.task)
    model = _new_model(data, model_options, run)
    watch = _watch(model, data) if run.watch else None
    trained = _fit(model, data, run, _shown(data.task, outputs), watch)
    if data.label_words is not None:
        model.label_words_ = data.label_words
    if trained.n_epochs > 0 or not trained.interrupted:
        save_model(model, outputs.model)
    if trained.interrupted:
        _report_interruption(trained, data_options, run, outputs)
        raise typer.Exit(128 + trained.signal)
    _report(trained, data_options, outputs)
    if watch is not None:
        _serve(watch)


def _with_test_size(
    data: DataOptions, model: ModelOptions, run: RunOptions, outputs: OutputOptions
) -> DataOptions:
    """Hold rows out if the scores do not come from a cross-validation on all rows."""
    streamed = data.memory is not None or is_streamed(data.table)
    shows_rows = run.watch or outputs.report is not None
    everywhere = model.cross_validates and not streamed and run.cluster is None
    from_all = everywhere and not shows_rows and data.time_column is None
    if data.test_size is not None or from_all:
        return data
    return replace(data, test_size=TEST_SIZE)


def _check(run: RunOptions, outputs: OutputOptions) -> None:
    """Raise InputError before the work starts rather than after it."""
    require_writable(outputs.model)
    if outputs.report is not None:
        _check_report(outputs.report, outputs.model)
    if run.cluster is None:
        return
    if run.watch:
        raise InputError(
            "--watch shows a training run on this machine; leave out --watch or --cluster."
        )
    if find_spec("ray") is None:
        raise InputError("--cluster needs Ray. Install it with: pip install 'deltaprop[cluster]'")


def _check_options(data: DataOptions, model: ModelOptions, run: RunOptions) -> None:
    """Raise InputError for options that cannot be combined."""
    if run.cluster is not None and data.groups is not None:
        raise InputError("--groups cannot be combined with --cluster; leave out one of them.")
    if model.class_weight is None:
        return
    if data.memory is not None or is_streamed(data.table):
        raise InputError(
            "--class-weight needs a table in memory. For a stream, give a column of weights: "
            "--weight."
        )


def _check_report(page: str, model: str) -> None:
    from deltaprop.inspect.displays import require_matplotlib

    require_writable(page, "--report")
    if Path(page).resolve() == Path(model).resolve():
        raise InputError(f"--report and --output name the same file, {page!r}.")
    try:
        require_matplotlib()
    except ImportError as error:
        raise InputError(f"--report: {error}") from error


# ---------------------------------------------------------------- training


def _new_model(data: TrainingData, options: ModelOptions, run: RunOptions) -> Tabular:
    classifies = data.task == "classification"
    estimator = TabularClassifier if classifies else TabularRegressor
    checkpoint = None
    if run.checkpoint is not None:
        checkpoint = Checkpoint(run.checkpoint, seconds=run.checkpoint_seconds)
    model = estimator(**options.parameters(), checkpoint=checkpoint)
    if not classifies:
        _refuse_for_numbers(options)
        return model
    if options.class_weight is not None:
        model.set_params(class_weight=options.class_weights(np.unique(data.fit[1])))
    model.set_params(**options.decision())
    return model


def _refuse_for_numbers(options: ModelOptions) -> None:
    """Raise InputError if an option for classes is given for a regression."""
    for name in ("class_weight", "cost", "threshold"):
        if getattr(options, name) is not None:
            option = name.replace("_", "-")
            raise InputError(f"--{option} is for classes, but the task is a regression.")


def _shown(task: str, outputs: OutputOptions) -> list[Callback]:
    """Return what shows the progress of the training."""
    if outputs.quiet:
        return []
    if outputs.verbose:
        return [_print_epoch]
    return [Progress("accuracy" if task == "classification" else "R²")]


def _print_epoch(event: Epoch) -> None:
    network = f"network {event.member + 1}/{event.n_members}, " if event.n_members > 1 else ""
    text = f"{network}epoch {event.epoch}: loss {event.loss:.6g}"
    if event.validation_loss is not None:
        text += f", validation loss {event.validation_loss:.6g}"
    note(text)


def _fit(
    model: Tabular, data: TrainingData, run: RunOptions, progress: list[Callback],
    watch: Watch | None,
) -> Trained:  # fmt: skip
    started = time.perf_counter()
    with warnings.catch_warnings():
        if _print_epoch not in progress:
            warnings.simplefilter("ignore")  # the report shows why the training stopped
        if run.cluster is None:
            model.set_params(callbacks=[*progress, *([] if watch is None else [watch])])
            model.fit(*data.fit)
        else:
            _fit_on_cluster(model, *data.fit, run=run)
    return Trained(model, data, time.perf_counter() - started)


def _fit_on_cluster(
    model: Tabular, X: Any, y: Any = None, w: Any = None, groups: Any = None, *, run: RunOptions
) -> None:
    from deltaprop import cluster

    note(f"Training with {run.workers} worker(s) on the Ray cluster at {run.cluster!r}.")
    weights = {} if w is None else {"sample_weight": w}
    cluster.fit(
        model, X, y, address=run.cluster, workers=run.workers, gpus=run.gpus,
        checkpoint=model.checkpoint, **weights,
    )  # fmt: skip


# ---------------------------------------------------------------- reporting


def _report(trained: Trained, options: DataOptions, outputs: OutputOptions) -> None:
    """Print the scores and, unless the training was interrupted, write the HTML report."""
    result = _result(trained, options, outputs)
    comparison = _compare(trained, options.seed, outputs)
    if outputs.report is not None and not trained.interrupted:
        _write_page(trained, outputs.report)  # with the baselines that the comparison has learned
        result["report"] = outputs.report
    result |= report.comparison_facts(comparison)
    result["suspected_leakage"] = suspected_leaks(trained.model, *trained.data.baseline)
    if outputs.as_json:
        print_json(result)
    elif not outputs.quiet:
        n_parameters = sum(net.theta.size for net in trained.model.networks_)
        report.print_training(result, comparison, n_parameters)


def _compare(trained: Trained, seed: int, outputs: OutputOptions) -> Comparison:
    """Compare the model with its baselines, and keep these in its file for ``evaluate``."""
    model, data, judged = trained.model, trained.data, Judged(trained.model)
    X, y = data.baseline
    truth = judged.truth(y)
    model.baseline_ = judged.baseline(X, truth)
    if data.test is not None:
        comparison = on_rows(model, *data.test, outputs.metric)
    else:
        folds = folds_for(
            BASELINE_FOLDS, truth, groups=data.groups, stratify=judged.is_classifier,
            rng=np.random.RandomState(seed),
        )  # fmt: skip
        comparison = in_cross_validation(model, X, y, folds, outputs.metric)
    if model.privacy is not None:
        model.baseline_ = None  # it is learned from the rows without noise
    save_model(model, outputs.model)
    return comparison


def _result(trained: Trained, options: DataOptions, outputs: OutputOptions) -> dict[str, Any]:
    data = trained.data
    return {
        "task": data.task,
        "target": options.target,
        "rows": data.n_rows,
        "rows_without_target": data.n_without_target,
        "train_rows": len(data.fit[0]),
        "test_rows": 0 if data.test is None else len(data.test[0]),
        "networks": len(trained.model.members_),
        "epochs": trained.n_epochs,
        "stop_reason": trained.model.mlp_.stop_reason_,
        "seconds": round(trained.seconds, 3),
        "model": outputs.model,
        **_privacy(trained),
        **_details(trained),
    }


def _details(trained: Trained) -> dict[str, Any]:
    test = trained.data.test
    if test is None:
        return report.cv_details(trained.model, trained.data.baseline[1])
    return report.details(trained.model, *test)


def _privacy(trained: Trained) -> dict[str, Any]:
    """Return the privacy loss of all `max_iter` epochs, at δ = 1 / (10 · rows).

    It may be larger if the training continued another one (see ``training.noise_plan``).
    """
    privacy, n_rows = trained.model.privacy, len(trained.data.fit[0])
    if privacy is None:
        return {}
    delta, mlp = 0.1 / n_rows, trained.model.mlp_
    epsilon = max(privacy.epsilon(delta, mlp.max_iter), mlp.privacy_epsilon(delta))
    return {"epsilon": epsilon, "delta": delta}


def _write_page(trained: Trained, place: str) -> None:
    from deltaprop.inspect.report import report as write_report

    assert trained.data.test is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_report(trained.model, *trained.data.test, place)


def _report_interruption(
    trained: Trained, options: DataOptions, run: RunOptions, outputs: OutputOptions
) -> None:
    """Print where the model is and how to resume; SIGTERM leaves no time to compute scores."""
    if trained.n_epochs > 0 and trained.signal != signal.SIGTERM:
        _report(trained, options, outputs)
    if trained.n_epochs == 0:
        message = "Interrupted before the end of the first epoch; no model was written."
    else:
        message = (
            f"Interrupted after epoch {trained.n_epochs}; the best weights so far are in "
            f"{outputs.model}."
        )
    if run.checkpoint is not None:
        message += (
            f" To resume from the checkpoint in {run.checkpoint}, run the same command again."
        )
    note(message)


# ---------------------------------------------------------------- watching


def _watch(model: Tabular, data: TrainingData) -> Watch:
    """Return a page that follows the training and then shows the model on the held-out rows."""
    from deltaprop.inspect.interactive import Watch

    assert data.test is not None
    page = Watch(model, *data.test, open_browser=sys.stderr.isatty())
    note(f"Watch the training at {page.url}")
    return page


def _serve(page: Watch) -> None:
    """Serve the page until Ctrl-C, if there is a terminal on which to press it."""
    page.finish()
    if not sys.stderr.isatty():
        return
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C before the page waits for it
        note(f"The model, on the held-out rows, is at {page.url} until Ctrl-C.")
        page.wait()
