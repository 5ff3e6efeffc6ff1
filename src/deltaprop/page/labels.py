"""The texts of the page for each quantity: its name, the title of its step, and a note."""

from __future__ import annotations

from typing import NamedTuple

from deltaprop.explain.expressions import Symbol


class Words(NamedTuple):
    """The texts for one symbol; {l} is the index of its layer.

    Attributes
    ----------
    name : str
        The label of its matrix.
    title : str
        The title of the step that computes it.
    note : str
        An explanation of the step for beginners.
    """

    name: str
    title: str
    note: str


HELPER = Words(
    "intermediate result",
    "An intermediate result of layer {l}",
    "The equations below use this quantity more than once, so it is given a name.",
)
LOSS_HELPER = HELPER._replace(title="An intermediate result of the loss")

WORDS = {
    "a": Words(
        "sums",
        "The sums of layer {l}",
        "Each unit adds up its inputs, each multiplied by the weight of its connection, and its "
        "bias.",
    ),
    "X": Words(
        "outputs",
        "The outputs of layer {l}",
        "The activation function turns the sum of each unit into its output.",
    ),
    "Z": Words(
        "outputs before dropout",
        "The outputs of layer {l} before dropout",
        "The activation function turns the sum of each unit into its output.",
    ),
    "L": Words(
        "loss",
        "The loss",
        "A single number measures how far the outputs are from the target. Training makes it "
        "small.",
    ),
    "g": Words(
        "gradient of the outputs",
        "The gradient of the outputs of layer {l}",
        "The derivative of L with respect to each output of this layer.",
    ),
    "δ": Words(
        "error signals",
        "The error signals of layer {l}",
        "The derivative of L with respect to the sum of each unit. That of a hidden unit is the "
        "weighted sum of the error signals of the units that it feeds, times the slope of its "
        "activation.",
    ),
    "∂L/∂W": Words(
        "gradient of the weights",
        "The gradient of the weights of layer {l}",
        "The gradient of a weight is its input times the error signal of the unit that it leads "
        "to, summed over the rows.",
    ),
    "∂L/∂b": Words(
        "gradient of the biases",
        "The gradient of the biases of layer {l}",
        "A bias acts on every row, so its gradient is the sum of the error signals.",
    ),
    "∂L/∂r": Words(
        "gradient of the input scales",
        "The gradient of the input scales of layer {l}",
        "A scale multiplies one input on every row, so its gradient is that input times the error "
        "signal that reaches it, summed over the rows.",
    ),
    "∂L/∂α": Words(
        "gradient of α",
        "The gradient of α of layer {l}",
        "The more the activation changes the sum of a unit, the more α matters: its gradient is "
        "that change times the gradient of the output, summed over the rows.",
    ),
    "F": Words(
        "activations",
        "The activations of layer {l} before α mixes them with the sums",
        "The activation function is applied to the sum of each unit.",
    ),
    "r": HELPER._replace(name="scale of each input"),
    "α": HELPER._replace(name="how much of the activation each unit uses"),
    "C": HELPER._replace(name="which weights exist"),
    "W": HELPER._replace(name="weights"),
    "b": HELPER._replace(name="biases"),
    "M": HELPER._replace(name="dropout mask (1 outside training)"),
    "ŷ": HELPER._replace(name="outputs of the network"),
    "y": HELPER._replace(name="target"),
    "λ": HELPER._replace(name="strength of the L2 penalty"),
    "N": HELPER._replace(name="number of rows"),
}


def words_for(symbol: Symbol) -> Words:
    """Return the texts for a symbol, with the index of its layer filled in.

    Examples
    --------
    >>> from deltaprop.explain.expressions import Symbol
    >>> from deltaprop.page.labels import words_for
    >>> words_for(Symbol("a", 2, ("N", 5))).title
    'The sums of layer 2'
    """
    helper = LOSS_HELPER if symbol.index is None else HELPER
    words, l = WORDS.get(symbol.name, helper), symbol.index
    if symbol.name == "X":  # X_l is the output of layer l − 1
        if l == 0:
            return words._replace(name="inputs")
        l = symbol.index - 1 if symbol.index is not None else None
    return words._replace(title=words.title.format(l=l))
