"""Findings: the faults that a diagnosis recognises, and the advice for each."""

from __future__ import annotations

from dataclasses import dataclass

FAULTS = {
    "exploding error signals":
        "init='he_uniform' or 'glorot_uniform', clip_norm=1, a lower learning rate, fewer layers.",
    "vanishing error signals":
        "relu, gelu or silu instead of tanh or logistic, init='he_uniform', fewer layers.",
    "dead units":
        "leaky_relu, elu or gelu; a smaller learning rate; initial biases of 0.",
    "saturated units":
        "scaled inputs, a smaller learning rate, smaller initial weights, l2 > 0; or relu.",
    "saturated outputs":
        "the loss that matches the output (softmax with cross_entropy, logistic with "
        "binary_cross_entropy), scaled inputs, smaller initial weights.",
    "unscaled inputs":
        "sklearn.preprocessing.StandardScaler before the network, or deltaprop's Tabular "
        "estimators, which scale their inputs.",
    "learning rate too high":
        "a learning rate 10 times smaller, clip_norm, or a schedule that decays.",
    "learning rate too low":
        "a learning rate 10 times larger, or more epochs.",
    "label leakage":
        "check how that column was recorded; drop it if it is known only after y.",
    "overfitting":
        "early stopping (validation=0.2), l2, dropout, fewer units, more rows.",
    "plateau":
        "more units or layers, other features, less l2, another init or seed. X may contain no "
        "more information about y.",
}  # fmt: skip
"""The faults, with advice for each."""


@dataclass(frozen=True)
class Finding:
    """One fault of a network, of its training or of its data.

    Attributes
    ----------
    fault : str
        A key of ``deltaprop.inspect.diagnosis.FAULTS``.
    layer : int or None
        The index of the layer; None for faults of the training or the data.
    evidence : str
        What was observed, in numbers.
    advice : str
        What to try.
    members : tuple of int
        Of an ensemble, the indices of the members that have the fault; the evidence is that of the
        first of them. Empty for a single network, and for faults of the data.
    """

    fault: str
    layer: int | None
    evidence: str
    advice: str
    members: tuple[int, ...] = ()

    def __str__(self) -> str:
        where = "" if self.layer is None else f", layer {self.layer}"
        if self.members:
            where += f", members_[{', '.join(map(str, self.members))}]"
        return f"{self.fault}{where}\n  seen: {self.evidence}\n  try:  {self.advice}"


def finding(fault: str, layer: int | None, evidence: str) -> Finding:
    """Return a finding with the advice for its fault."""
    return Finding(fault, layer, evidence, FAULTS[fault])
