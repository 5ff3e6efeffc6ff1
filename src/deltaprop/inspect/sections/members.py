"""The section about the members of an ensemble: how they differ, and what that says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.estimators.tabular.summaries import threshold_in_words
from deltaprop.inspect import displays
from deltaprop.inspect.markup import Markup, facts, figure, figures, paragraph, table
from deltaprop.inspect.report_data import Case

if TYPE_CHECKING:
    from jaxtyping import Float

COVERAGE = 0.9  # of intervals and sets
GROUPS = 5  # of rows, by how much the members disagree


def members(case: Case) -> Markup | None:
    """Return a table of the members, and how much their predictions differ."""
    if len(case.members) == 1:
        return None
    predicted, y = case.of_members
    whole, spread, error = _spread(case, predicted, y)
    measure = "accuracy" if case.is_classifier else "mean absolute error"
    own = [_score(case, each, y) for each in predicted]
    together = _score(case, whole, y)
    numbers: dict[str, object] = {
        f"{measure} of the ensemble": together,
        f"{measure} of a member, on average": float(np.mean(own)),
        _spread_name(case): float(spread.mean()),
    }
    text = (
        f"Each of the {len(case.members)} members was trained on other rows, from other initial "
        "weights, and validated on the rows that were left out. The scores are those on "
        f"{len(y):,} of the rows of this page."
    )
    rows = [
        (f"members_[{i}]", mlp.n_iter_, mlp.stop_reason_, mlp.loss_, _best(mlp), own[i])
        for i, mlp in enumerate(case.members)
    ]
    heads = ("member", "epochs", "stopped by", "training loss", "validation loss", measure)
    return Markup(
        paragraph(text) + facts(numbers) + figures([_disagreement(case, spread, error)])
        + table(heads, rows, tall=True)
    )  # fmt: skip


def curves(case: Case) -> Markup:
    """Return a chart of the validation loss of every member."""

    def draw(ax: Any) -> None:
        for i, mlp in enumerate(case.members):
            losses = np.asarray(mlp.validation_loss_curve_, float)
            shown, best = mlp is case.mlp, int(np.nanargmin(losses))
            style = {"color": "C1", "zorder": 3} if shown else {"color": "C0", "alpha": 0.5}
            label = f"members_[{i}]" if shown else "the others" if i == _first_other(case) else None
            ax.plot(np.arange(1, len(losses) + 1), losses, linewidth=1.2, label=label, **style)
            ax.plot(best + 1, losses[best], "o", markersize=4, **style)
        everything = np.concatenate([m.validation_loss_curve_ for m in case.members])
        if everything.min() > 0 and everything.max() > 10 * everything.min():
            displays.log_scale(ax)
        ax.set(xlabel="epoch", ylabel="validation loss")
        ax.legend()

    return figure(
        draw,
        "The loss of every member on the rows that it has not seen. A dot marks the epoch whose "
        "weights were kept.",
    )


def held_out(case: Case) -> dict[str, object]:
    """Return the score of the cross-validation, and how often 90 % intervals or sets are right."""
    model: Any = case.estimator
    found: dict[str, object] = {}
    if getattr(model, "cv_score_", None) is not None:
        score = "accuracy" if case.is_classifier else "R²"
        found[f"{score} in the cross-validation"] = model.cv_score_
    if threshold := threshold_in_words(model):
        found["decision threshold"] = threshold
    if getattr(model, "held_out_", None) is None:
        return found
    X = case.before_estimator(case.X)
    if not case.is_classifier:
        low, high = model.predict_interval(X, coverage=COVERAGE).T
        right, size = (low <= case.y) & (case.y <= high), high - low
        name, extent = "intervals", "mean width"
    else:
        sets = model.predict_set(X, coverage=COVERAGE)
        own = np.searchsorted(case.mlp.classes_, case.y).clip(max=sets.shape[1] - 1)
        right, size = sets[np.arange(len(own)), own] & case.known, sets.sum(axis=1)
        name, extent = "sets", "mean number of classes"
    found[f"coverage of the {COVERAGE:.0%} {name}"] = float(right.mean())
    return found | {f"{extent} of the {COVERAGE:.0%} {name}": float(size.mean())}


def _first_other(case: Case) -> int:
    return 1 if case.mlp is case.members[0] else 0


def _best(mlp: Any) -> float | str:
    losses = mlp.validation_loss_curve_
    return float(np.nanmin(losses)) if losses else ""


def _spread(
    case: Case, predicted: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Return the ensemble's prediction, how much the members differ, and the error, row by row."""
    whole = predicted.mean(axis=0)
    if not case.is_classifier:
        return whole, predicted.std(axis=0), np.abs(whole - y)
    winner = whole.argmax(axis=1)
    of_winner = predicted[:, np.arange(len(y)), winner]
    return whole, of_winner.std(axis=0), (case.mlp.classes_[winner] != y).astype(float)


def _score(case: Case, predicted: np.ndarray, y: np.ndarray) -> float:
    if not case.is_classifier:
        return float(np.mean(np.abs(predicted - y)))
    return float(np.mean(case.mlp.classes_[predicted.argmax(axis=1)] == y))


def _spread_name(case: Case) -> str:
    what = "P(predicted class)" if case.is_classifier else "predictions"
    return f"mean standard deviation of the members' {what}"


def _disagreement(case: Case, spread: np.ndarray, error: np.ndarray) -> Markup:
    """Return a chart of the error in groups of rows, by how much the members disagree."""
    order = np.argsort(spread, kind="stable")
    groups = [rows for rows in np.array_split(order, GROUPS) if len(rows)]
    x = [float(spread[rows].mean()) for rows in groups]
    height = [float(error[rows].mean()) for rows in groups]

    def draw(ax: Any) -> None:
        ax.plot(x, height, "o-", color="C0")
        ax.set(
            xlabel="standard deviation of the members",
            ylabel="error rate" if case.is_classifier else "mean absolute error",
        )
        ax.set_ylim(bottom=0)

    return figure(
        draw,
        f"The error of the ensemble in {len(groups)} groups of rows, by how much the members "
        "disagree. If the line rises, their disagreement tells where the model errs.",
    )
