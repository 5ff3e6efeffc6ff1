"""The sections that look inside the network: signals, weights, equations and their verification."""

from __future__ import annotations

from deltaprop.explain.verification import verify_members
from deltaprop.inspect import displays
from deltaprop.inspect.markup import Markup, figure, figures, label_of, paragraph, table
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
                f"One pass over {len(y):,} of these rows: forward X_l and a_l, "
                "backward the error signals δ_l and the gradients. Level lines are healthy. Error "
                "signals that shrink from layer to layer towards the input vanish; growing ones "
                "explode.",
            )
        ]
    )
    return Markup(_of_member(case) + chart)


def weights(case: Case) -> Markup:
    """Return a heat map of the weights of each of the first layers."""
    net = case.inside.network
    names = [label_of(name) for name in case.names] if case.mlp is case.model else None
    maps = figures(
        figure(
            displays.WeightsDisplay(net.W[l], layer=l, input_names=names if l == 0 else None).plot,
            f"The weights W_{l}: a row for each input, a column for each unit; white is zero.",
        )
        for l in range(min(net.n_layers, HEAT_MAPS))
    )
    return Markup(_of_member(case) + maps)


def equations(case: Case) -> Markup:
    """Return the derivation of the network."""
    html = case.inside.network.derivation().html
    return Markup(f'{_of_member(case)}<div class="equations">{html}</div>')


def verification(case: Case) -> Markup:
    """Return a table of the equations, each verified numerically."""
    X, y = case.inside.data
    networks = [member.fitted_network() for member in case.members]
    report = verify_members(networks, X[:CHECKED_ROWS], y[:CHECKED_ROWS])
    verdicts = {True: Markup('<span class="holds">holds</span>'),
                False: Markup('<span class="fails">FAILS</span>')}  # fmt: skip
    rows = [(e.equation, verdicts[e.ok], f"{e.error:.1e}", e.method, e.where) for e in report.rows]
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
