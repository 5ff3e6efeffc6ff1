"""Kernel forms: how compiled engines compute a function that is not elementwise.

Most activations and losses are elementwise: a compiled engine specializes their scalar function
and puts a loop around it. A function that is not elementwise declares one of the forms below as its
``kernel``. A form consists of scalar functions and a fixed rule by which the engine combines them
within a row. Engines dispatch on the type of the form and never on a name, so custom functions can
use the forms too.

==================  ==============================================================================
form                functions that it describes
==================  ==============================================================================
`Normalized`        activation: z_h = e_h / Σ_k e_k with e_h = term(a_h - max_k a_k)
`TwoHalves`         activation: one function for the first half of the columns, one for the second
`PerOutput`         loss: elementwise, with a parameter that has one value for each output column
`MeanAndSpread`     loss: the first half of the outputs are means, the second half spreads
`EachClass`         loss: Σ_h t_h value_h; a single output stands for both classes
`LogLikelihood`     loss with softmax: -Σ_h w_h log z_h with weights w that depend on t only
`LogProbabilities`  loss with softmax: any other function of t, z and log z
==================  ==============================================================================

Functions that return the loss together with its derivatives compute common terms only once.
All functions are scalar functions of the working dtype; `xp` is the engine's namespace and
``**params`` are the loss's parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

Scalar = Callable[..., Any]


class Normalized(NamedTuple):
    """z_h = e_h / Σ_k e_k with e_h = term(a_h - max_k a_k).

    Parameters
    ----------
    term : callable ``term(shifted, xp)``
        e_h, from a_h minus the largest pre-activation of the row.
    pull_back : callable ``pull_back(z, g, inner, xp)``
        ∂L/∂a_h, from z_h, g_h = ∂L/∂z_h and inner = Σ_k g_k z_k.
    """

    term: Scalar
    pull_back: Scalar


class TwoHalves(NamedTuple):
    """One elementwise function for the first half of the columns and one for the second half.

    Parameters
    ----------
    f : pair of callables ``f(a, xp)``
        The functions of the first and of the second half.
    df : pair of callables ``df(a, z, xp)``
        Their derivatives.
    """

    f: tuple[Scalar, Scalar]
    df: tuple[Scalar, Scalar]


class PerOutput(NamedTuple):
    """An elementwise loss whose tuple `parameter` has one value for each output of a target.

    The functions read the value of their column with `arrays.per_output`.
    """

    parameter: str


class MeanAndSpread(NamedTuple):
    """Outputs in two halves: the means m and the spreads s of the N x K targets.

    Parameters
    ----------
    terms : callable ``terms(t, m, s, xp, **params)``
        The summand of one target and its derivatives with respect to m and s.
    """

    terms: Scalar


class EachClass(NamedTuple):
    """Σ_h t_h value(a_h, z_h); a single output adds (1 - t) value(-a, 1 - z) for the other class.

    Parameters
    ----------
    terms : callable ``terms(a, z, xp, **params)``
        The loss `value` of an output whose class is present, and its derivative with respect to z
        (in a closed form, with respect to a).
    """

    terms: Scalar


class LogLikelihood(NamedTuple):
    """-Σ_h w_h log z_h of a softmax z, and δ_h = z_h Σ_k w_k - w_h.

    Parameters
    ----------
    weight : callable ``weight(t, xp, **params)``
        w_h. It must not depend on the outputs.
    """

    weight: Scalar


class LogProbabilities(NamedTuple):
    """A loss of a softmax z in terms of log z, which stays exact where z underflows.

    Parameters
    ----------
    terms : callable ``terms(t, z, log_z, xp, **params)``
        The summand of one class and its derivative q_h with respect to log z_h, which gives
        δ_h = q_h - z_h Σ_k q_k.
    single : callable ``single(t, z, xp, **params)``
        The loss of a row with a single output, which is always 1; there δ = 0.
    """

    terms: Scalar
    single: Scalar


ActivationKernel = Normalized | TwoHalves
LossKernel = PerOutput | MeanAndSpread | EachClass
ClosedKernel = MeanAndSpread | EachClass | LogLikelihood | LogProbabilities
