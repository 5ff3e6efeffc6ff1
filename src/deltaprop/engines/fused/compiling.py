"""Compilation of the code that a training run needs, in the background or in this process.

``python -m deltaprop.engines.fused.compiling`` compiles all built-in functions, for machines
or images whose processes cannot write to a cache folder later.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from typing import TYPE_CHECKING, Any

from deltaprop.engines.fused import bfloat16, objects, processors, units
from deltaprop.functions import activations, losses
from deltaprop.model import Model

if TYPE_CHECKING:
    import subprocess

_child: list[subprocess.Popen[bytes]] = []


def source(net: Model, X: Any) -> str:
    """The dtype in which the kernel reads the rows."""
    name: str = net.dtype.name if hasattr(X, "tocsr") else X.dtype.name
    return name


def needed(net: Model, X: Any, precision: str | None = None) -> list[objects.Unit]:
    """The units of the network that are not compiled yet."""
    every = units.of(net, source(net, X), precision)
    return [unit for unit in every if not objects.ready(unit)]


def ready(net: Model, X: Any, precision: str | None = None) -> bool:
    """Whether everything that the network needs is compiled."""
    return not needed(net, X, precision)


def finish(net: Model, X: Any, precision: str | None = None) -> None:
    """Wait until everything is compiled, with a message on a terminal."""
    todo = needed(net, X, precision)
    if not todo:
        return
    if _child and _child[-1].poll() is None and all(unit.key for unit in todo):
        _print_to_terminal(
            f"compiling for this machine, once: {', '.join(unit.name for unit in todo)} …"
        )
        while _child[-1].poll() is None and needed(net, X, precision):
            time.sleep(0.05)
    compile_all(needed(net, X, precision))


def compile_all(todo: list[objects.Unit]) -> None:
    """Compile units in this process."""
    for i, unit in enumerate(todo):
        _print_to_terminal(
            f"compiling for this machine, once: {unit.name} ({i + 1} of {len(todo)}) …"
        )
        objects.addresses(unit)


def start(net: Model, X: Any) -> bool:
    """Start to compile in another process. Returns whether that was possible."""
    if _child and _child[-1].poll() is None:
        return True  # only one process compiles; the next training run tries again
    sent = [pickled for pickled in map(_pickled, needed(net, X)) if pickled]
    failed = _child and _child[-1].returncode != 0
    if not sent or failed or not sys.executable or not objects.writable():
        return False
    import subprocess

    child = subprocess.Popen(
        [sys.executable, "-m", __name__, "-"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that Ctrl-C does not end it
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert child.stdin is not None
    with child.stdin:
        pickle.dump(sent, child.stdin)
    _child.append(child)
    _print_to_terminal(
        "compiling the fused engine for this machine in the background, once (about 20 s) …"
    )
    return True


def _pickled(unit: objects.Unit) -> bytes | None:
    """None for functions that another process cannot import, such as a user's lambdas."""
    factory = getattr(units, unit.make.__name__.removeprefix("_make_"))
    try:
        return pickle.dumps((factory, unit.of)) if unit.key else None
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


def built_in() -> list[objects.Unit]:
    """The units of all built-in functions, the most often needed first."""
    functions = {f.name: f for f in map(activations.get, activations.NAMES)}.values()
    all_losses = [losses.get(name) for name in losses.NAMES]
    all_units = []
    for dtype in ("float32", "float64"):
        all_units += [units.kernel(dtype), units.products(dtype), units.gather(dtype, dtype)]
        all_units += [units.activation(f, dtype) for f in functions]
        for loss in all_losses:
            closed = [f.name for f in functions if loss.closed_form(f.name)]
            all_units += [units.loss(loss, name, dtype) for name in ("", *closed)]
        all_units += [units.noise(dtype)]
        all_units += [units.gather(name, dtype) for name in units.SOURCES if name != dtype]
    if bfloat16.available():
        all_units.append(units.bfloat16_products(bfloat16.emulated()))
    return all_units


def _print_to_terminal(message: str) -> None:
    if sys.stderr and sys.stderr.isatty():
        print(f"deltaprop: {message}", file=sys.stderr, flush=True)


def _failure(pickled: bytes) -> str | None:
    """Compile a unit and store it. Returns why that is not possible, if so."""
    make, of = pickle.loads(pickled)
    unit = make(*of)
    try:
        if not objects.ready(unit):
            objects.addresses(unit)
    except objects.Uncompilable as error:
        return str(error)
    return None


def _failures(todo: list[bytes], n_processes: int) -> list[str | None]:
    if n_processes == 1:
        return list(map(_failure, todo))
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(n_processes, get_context("spawn")) as pool:
        return list(pool.map(_failure, todo))


def _main() -> None:
    with objects.alone():
        if sys.argv[1:] == ["-"]:  # in the background, which must leave the other cores alone
            failures = _failures(pickle.load(sys.stdin.buffer), 1)
        else:
            todo = [unit for unit in built_in() if not objects.ready(unit)]
            n_processes = min(processors.available(), max(len(todo), 1))
            failures = _failures([p for p in map(_pickled, todo) if p], n_processes)
    if any(failures):
        sys.exit("; ".join(filter(None, failures)))


if __name__ == "__main__":
    _main()
