"""The sections of a report: functions from a Case to HTML, or to None to leave the section out."""

from collections.abc import Callable

from deltaprop.inspect.markup import Markup
from deltaprop.inspect.report_data import Case
from deltaprop.inspect.sections.columns import importance, partial_dependence
from deltaprop.inspect.sections.errors import calibration, mistakes, worst_rows
from deltaprop.inspect.sections.internals import equations, signal_flow, verification, weights
from deltaprop.inspect.sections.members import members
from deltaprop.inspect.sections.overview import learning_curves, model, scores

SECTIONS: dict[str, Callable[[Case], Markup | None]] = {
    "Model": model,
    "Scores": scores,
    "Learning curves": learning_curves,
    "Members": members,
    "Mistakes": mistakes,
    "Calibration": calibration,
    "Importance": importance,
    "Signal flow": signal_flow,
    "Partial dependence": partial_dependence,
    "Worst rows": worst_rows,
    "Weights": weights,
    "Equations": equations,
    "Verification": verification,
}

__all__ = ["SECTIONS"]
