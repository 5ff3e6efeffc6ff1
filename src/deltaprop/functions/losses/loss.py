"""The class `Loss`, its closed forms, and the registry of built-in losses.

A family module registers a built-in loss by decorating the function that returns it::

    @register("huber")
    def Huber(delta: float = 1.0) -> Loss: ...

Then ``get("huber", delta=2.0)`` returns it, and files and pickles store its name and settings only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from inspect import signature
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from deltaprop.errors import InputError, InputTypeError
from deltaprop.functions.arrays import Array
from deltaprop.functions.checks import require_callables
from deltaprop.functions.kernels import ClosedKernel, LossKernel
from deltaprop.functions.losses.targets import Target

if TYPE_CHECKING:
    from jaxtyping import Float, Num

    Values = Float[Array, "N H"]
    LossFunction = Callable[..., Values]


class ClosedForm(NamedTuple):
    """Loss and δ = ∂loss/∂a of one pair of loss and output activation, from a and z = f(a).

    Parameters
    ----------
    value : callable ``value(t, a, z, xp, **params)``
        The summands of the loss, (N, M).
    delta : callable ``delta(t, a, z, xp, **params)``
        δ, (N, H).
    kernel : kernel form, optional
        How compiled engines compute both if they are not elementwise (see `functions.kernels`).
    """

    value: LossFunction
    delta: LossFunction
    kernel: ClosedKernel | None = None


@dataclass(frozen=True, repr=False, eq=False)
class Loss:
    """loss(y, ŷ) of equation (1.3) and what back-propagation needs of it.

    Parameters
    ----------
    name : str
        The name in printed equations and model files.
    value : callable ``value(t, yhat, xp, **params)``
        The summands, (N, M). Their sum over a row is the loss of that sample.
    d : callable ``d(t, yhat, xp, **params)``
        ∂loss/∂ŷ, (N, H).
    d2 : callable ``d2(t, yhat, xp, **params)``, optional
        ∂²loss/∂ŷ_h², (N, H). Only curvature and the verification of loss″ need it.
    params : mapping, optional
        Parameters that are passed to all functions by name.
    encode : callable ``encode(y, H, dtype, xp, **params)``, optional
        Turns y into t of that dtype. By default `encoding` does it.
    check : callable ``check(y, H, name, **params)``, optional
        Raises ValueError if y is outside the loss's domain. By default `encoding` does it.
    closed : mapping of activation name to ClosedForm, optional
        Numerically stable forms for known output activations.
    outputs_per_target : int, default=1
        How many network outputs describe one column of y.
    information : callable ``information(yhat, xp, **params)``, optional
        E ∂²loss/∂ŷ_h², (N, H), for y drawn from the model: the diagonal of the Fisher information
        in ŷ. By default ``d2(ŷ, ŷ)``, which is the same if loss″ is linear in y. Only K-FAC needs
        it.
    encoding : Target, optional
        How y is checked and encoded. By default y holds one column of numbers for each output.
        Its settings are those that only the encoding uses, such as `label_smoothing`.
    kernel : kernel form, optional
        How compiled engines compute `value` and `d` if they are not elementwise
        (see `functions.kernels`).
    link : str, default="identity"
        Name of the output activation that estimators choose.
    note : str, default=""
        A sentence that printed derivations add.

    Raises
    ------
    ValueError
        If the name is empty or that of a built-in loss.
    TypeError
        If a function is not callable.

    Examples
    --------
    >>> import deltaprop as dp
    >>> fourth = dp.Loss("fourth_power",
    ...                  lambda t, yhat, xp: (yhat - t) ** 4,
    ...                  lambda t, yhat, xp: 4 * (yhat - t) ** 3)
    >>> dp.Network(1, [dp.Dense(1)], loss=fourth).loss([[0.0]], [2.0])
    16.0
    """

    name: str
    value: LossFunction
    d: LossFunction
    d2: LossFunction | None = None
    params: Mapping[str, Any] | tuple[tuple[str, Any], ...] = ()
    encode: Callable[..., Array] | None = None
    check: Callable[..., None] | None = None
    closed: Mapping[str, ClosedForm] | tuple[()] = ()
    outputs_per_target: int = 1
    information: LossFunction | None = None
    encoding: Target = Target()  # noqa: RUF009 (it is immutable)
    kernel: LossKernel | None = None
    link: str = "identity"
    note: str = ""

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name):
            raise InputError(f"Loss: name must be a non-empty str, got {self.name!r}.")
        if self.name in _factories and not self.is_builtin:  # files store built-ins by their name
            raise InputError(
                f"Loss: name {self.name!r} is taken by a built-in; choose another name."
            )
        required: dict[str, object] = {"value": self.value, "d": self.d}
        optional: dict[str, object] = {
            "d2": self.d2, "information": self.information, "encode": self.encode,
            "check": self.check,
        }  # fmt: skip
        require_callables(f"Loss {self.name!r}", required, optional)
        # Compiled engines need a hashable loss, so the parameters become pairs.
        if isinstance(self.params, Mapping):
            object.__setattr__(self, "params", tuple(self.params.items()))

    # ------------------------------------------------------------ the target

    @property
    def settings(self) -> dict[str, Any]:
        """All settings by name, those of the target's encoding first: what model files store."""
        return self.encoding.settings | self._arguments

    @property
    def _arguments(self) -> dict[str, Any]:
        """The parameters that are passed to every function by name."""
        return dict(self.params)

    def check_target(self, y: Num[Array, "N ..."], H: int) -> None:
        """Raise ValueError if y does not fit this loss and H outputs."""
        if self.check is not None:
            self.check(y, H, self.name, **self._arguments)
        else:
            self.encoding.check(y, H, self.name)

    def target(self, y: Num[Array, "N ..."], H: int, like: Array, xp: ModuleType) -> Values:
        """t: the target as the loss's functions take it, in the dtype of `like`."""
        if self.encode is not None:
            return self.encode(y, H, like.dtype, xp, **self._arguments)
        return self.encoding.encode(y, H, like.dtype, xp)

    def printed_target(self, y: Num[Array, "N ..."], H: int, like: Array, xp: ModuleType) -> Values:
        """The target as printed formulas take it: before label smoothing and class weights."""
        if self.encode is not None:
            return self.target(y, H, like, xp)
        return self.encoding.columns(y, H, like.dtype, xp)

    def target_columns(self, H: int) -> int:
        """The number of columns of t for H outputs."""
        if self.encode is not None or not self.is_builtin:
            return H // self.outputs_per_target
        return self.encoding.n_columns(H)

    @property
    def admits_missing(self) -> bool:
        """Whether single targets of a row may be missing (NaN): their summands and loss′ are 0."""
        return self.encoding.separable and self.is_builtin

    @property
    def task(self) -> Literal["classification", "regression"]:
        """The task for which estimators offer the loss."""
        return "classification" if self.encoding.predicts == "class" else "regression"

    # ------------------------------------------------------------ the functions

    def evaluate(self, t: Float[Array, "N K"], yhat: Float[Array, "N H"], xp: ModuleType) -> Values:
        """The summands of equation (1.3)."""
        return self._of_known(t, self.value(t, yhat, xp, **self._arguments), xp)

    def first(self, t: Float[Array, "N K"], yhat: Float[Array, "N H"], xp: ModuleType) -> Values:
        """∂loss/∂ŷ, the factor loss′ of equation (1.8)."""
        return self._of_known(t, self.d(t, yhat, xp, **self._arguments), xp)

    def second(self, t: Float[Array, "N K"], yhat: Float[Array, "N H"], xp: ModuleType) -> Values:
        """∂²loss/∂ŷ_h² for each output."""
        if self.d2 is None:
            raise InputError(
                f"Loss {self.name!r} has no second derivative; pass it as d2 of deltaprop.Loss."
            )
        return self._of_known(t, self.d2(t, yhat, xp, **self._arguments), xp)

    def fisher(self, yhat: Float[Array, "N H"], xp: ModuleType) -> Values:
        """E ∂²loss/∂ŷ_h² for y drawn from the model."""
        if self.information is not None:
            return self.information(yhat, xp, **self._arguments)
        return self.second(yhat, yhat, xp)

    def closed_form(self, activation: str) -> ClosedForm | None:
        """The closed form for an output activation of that name, or None if there is none.

        Its functions have the loss's parameters filled in: call ``value(t, a, z, xp)``.
        """
        closed = dict(self.closed).get(activation)
        if closed is None:
            return None
        filled_in = partial(partial, self._of_known_entries)
        return closed._replace(value=filled_in(closed.value), delta=filled_in(closed.delta))

    def _of_known_entries(
        self, function: LossFunction, t: Values, a: Values, z: Values, xp: ModuleType
    ) -> Values:
        return self._of_known(t, function(t, a, z, xp, **self._arguments), xp)

    def _of_known(self, t: Float[Array, "N K"], values: Values, xp: ModuleType) -> Values:
        """`values` where t is known, and 0 where it is NaN."""
        if not self.admits_missing:
            return values
        known = ~xp.isnan(t)
        outputs = values.shape[1] // t.shape[1]
        if outputs > 1:
            known = xp.concat([known] * outputs, axis=1)
        return xp.where(known, values, xp.zeros_like(values))

    # ------------------------------------------------------------ identity

    @property
    def is_builtin(self) -> bool:
        """Whether this is a built-in loss, which its name and settings describe completely."""
        module = getattr(self.value, "__module__", None) or ""  # some callables have none
        return self.name in _factories and module.startswith(f"{__package__}.")

    def __repr__(self) -> str:
        settings = "".join(f", {k}={v!r}" for k, v in self.settings.items())
        return f"Loss({self.name!r}{settings})"

    def _identity(self) -> tuple[Any, ...]:
        named = (self.name, tuple(self.settings.items()))
        if self.is_builtin:
            return named
        functions = (self.value, self.d, self.d2, self.information, self.encode, self.check)
        return (*named, *functions, *dict(self.closed).items(), self.encoding, self.kernel)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loss) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __reduce__(self) -> Any:
        if self.is_builtin:
            return _rebuild, (self.name, self.settings)
        return _rebuild_custom, (self.__dict__,)


def _rebuild(name: str, settings: dict[str, Any]) -> Loss:
    return get(name, **settings)


def _rebuild_custom(state: dict[str, Any]) -> Loss:
    return Loss(**state)


# ---------------------------------------------------------------- built-in losses by name

Factory = TypeVar("Factory", bound=Callable[..., Loss])
_factories: dict[str, Callable[..., Loss]] = {}


def register(name: str) -> Callable[[Factory], Factory]:
    """Decorator of the function that returns the built-in loss `name` with given settings."""

    def add(factory: Factory) -> Factory:
        _factories[name] = factory
        return factory

    return add


def names() -> tuple[str, ...]:
    """The names of the built-in losses that have been registered."""
    return tuple(_factories)


def get(loss: str | Loss, **params: Any) -> Loss:
    """Return the built-in loss of that name; a :class:`Loss` is returned unchanged.

    Parameters
    ----------
    loss : str or Loss
        One of ``deltaprop.losses.NAMES``, or a custom loss.
    **params
        Settings of the built-in loss, such as ``delta`` of ``"huber"``.

    Returns
    -------
    Loss

    Raises
    ------
    ValueError
        If there is no loss of that name, or a setting is out of its range.
    TypeError
        If `loss` is neither a name nor a :class:`Loss`, or has no setting of that name.

    Examples
    --------
    >>> from deltaprop import losses
    >>> losses.get("quantile", quantiles=(0.1, 0.9))
    Loss('quantile', quantiles=(0.1, 0.9))
    """
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        raise InputTypeError(
            f"loss must be a name or a deltaprop.Loss, got {loss!r} of type "
            f"{type(loss).__name__}. For a custom function write deltaprop.Loss(name, value, d)."
        )
    if loss not in _factories:
        near = get_close_matches(loss, names(), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(f"loss must be one of {', '.join(names())}; got {loss!r}.{hint}")
    known = signature(_factories[loss]).parameters
    for name in params:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.5) or [
                n for n in known if n.startswith(name)
            ]
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InputTypeError(
                f"loss {loss!r} has no setting {name!r}.{hint} {_settings_of(loss)}"
            )
    return _factories[loss](**params)


def _settings_of(loss: str) -> str:
    known = signature(_factories[loss]).parameters.values()
    settings = ", ".join(f"{p.name}={p.default!r}" for p in known)
    return f"Its settings, with their defaults, are: {settings}." if settings else "It has none."
