"""The sections that look inside the network: signals, weights, equations and their verification."""

from __future__ import annotations

from deltaprop.explain.verification import verify_members
from deltaprop.inspect import displays
from deltaprop.inspect.markup import (
    Markup,
    figure,
    figures,
    label_of,
    mathematics,
    paragraph,
    table,
)
from deltaprop.inspect.report_data import Case

CHECKED_ROWS = 20
HEAT_MAPS = 4


def _of_member(case: Case) -> Markup:
    """Return a paragraph that says which member of an ensemble is shown."""
    if case.member_name is None:
        return Markup()
    return paragraph(f"This is the network of {case.member_name}.")


def signal_flow(case: Case) -> Markup:
    """Return a chart of the size of every quantity of a pass, layer by layer."""
    X, y = case.inside.data
    trace = case.inside.network.trace(X, y)
    chart = figures(
        [
            figure(
                lambda ax: displays.SignalFlowDisplay.from_trace(trace, ax=ax),
                mathematics(
                    f"One pass over {len(y):,} of these rows: forward X_l and a_l, backward the "
                    "error signals δ_l and the gradients. Level lines are healthy. Error signals "
                    "that shrink from layer to layer towards the input vanish; growing ones "
                    "explode."
                ),
            )
        ]
    )
    return Markup(_of_member(case) + chart)


def weights(case: Case) -> Markup:
    """Return a heat map of the weights of each of the first layers."""
    net = case.inside.network
    maps = figures(_heat_map(case, l) for l in range(min(net.n_layers, HEAT_MAPS)))
    return Markup(_of_member(case) + maps)


def _heat_map(case: Case, l: int) -> Markup:
    names, height = None if l else _column_names(case), 3.2
    what = "a row for each input"
    if names is not None:
        shown = min(len(set(names)), displays.MOST_TICKS)
        height = max(3.2, 0.9 + 0.2 * shown)
        what = "a row for each encoded input, at the name of its column"
    return figure(
        displays.WeightsDisplay(case.inside.network.W[l], layer=l, input_names=names).plot,
        mathematics(f"The weights W_{l}: {what}, a column for each unit; white is zero."),
        height,
    )


def _column_names(case: Case) -> list[str] | None:
    """The column of the data that each row of W_0 belongs to, where it is known."""
    if case.estimator is not case.model:  # a pipeline's other steps change the columns
        return None
    encoder = getattr(case.estimator, "encoder_", None)
    if encoder is None:
        return [label_of(name) for name in case.names]
    names = [""] * case.inside.network.n_features
    for name, (others, bins) in zip(encoder.columns_, encoder.layout.parts(), strict=True):
        for place in (*others, *bins):
            names[place] = label_of(name)
    return names


def equations(case: Case) -> Markup:
    """Return the derivation of the network, and the lines that lead to each equation."""
    net = case.inside.network
    path = net.derivation(steps=True).html
    return Markup(
        f'{_of_member(case)}<div class="equations">{net.derivation().html}'
        "<details><summary>How each equation follows: the chain rule and the algebra, line by "
        f"line</summary>{path}</details></div>"
    )


def verification(case: Case) -> Markup:
    """Return a table of the equations, each verified numerically."""
    X, y = case.inside.data
    networks = [member.fitted_network() for member in case.members]
    report = verify_members(networks, X[:CHECKED_ROWS], y[:CHECKED_ROWS])
    verdicts = {True: Markup('<span class="holds">holds</span>'),
                False: Markup('<span class="fails">FAILS</span>')}  # fmt: skip
    rows = [
        (mathematics(e.equation), verdicts[e.ok], f"{e.error:.1e}", e.method, e.where)
        for e in report.rows
    ]
    what, n = "this network", len(networks)
    if n > 1:
        what = f"the networks of all {n} members, of which the worst is shown"
    text = (
        f"Each equation of {what}, verified on {min(CHECKED_ROWS, len(y))} of these rows by "
        "an independent computation: " + ("all hold." if report.ok else "some do NOT hold.")
    )
    return Markup(
        paragraph(text)
        + table(("equation", "", "relative error", "method", "worst at"), rows, True)
    )
