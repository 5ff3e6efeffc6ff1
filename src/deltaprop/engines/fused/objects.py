"""A cache of compiled units on disk: machine code that runs without Numba.

A unit (the kernel, or one block) is compiled once per machine and stored in the user's cache
folder. The file name is a hash of everything that the machine code depends on: the sources, the
versions of Numba and llvmlite, Python, the CPU and its features, and the code of custom functions.
A process that finds the file neither imports Numba nor compiles.

The cache folder is ``$DELTAPROP_CACHE_DIR`` if it is set, else the user's cache folder, else a
folder in the temporary directory. Machine code is only read from folders that no other user can
write to.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

MAGIC = b"deltaprop object 1\n"


class Uncompilable(Exception):
    """Numba cannot compile a custom function."""


class Unstorable(Exception):
    """The code of a function depends on a value that has no stable description."""


@dataclass(frozen=True)
class Unit:
    """Functions that are compiled together: `make(*of)` returns them by name and needs Numba."""

    name: str
    describes: tuple[Any, ...]
    make: Callable[..., dict[str, Any]]
    of: tuple[Any, ...]

    @functools.cached_property
    def key(self) -> str | None:
        """The name of the unit's file, or None if the unit cannot be stored on disk."""
        try:
            text = repr((self.make.__name__, *(_stable(part) for part in self.describes)))
        except Unstorable:
            return None
        return hashlib.sha256(f"{_environment()}{text}".encode()).hexdigest()[:32]


_addresses: dict[Any, dict[str, int]] = {}
_failed: dict[Any, str] = {}
_kept: list[Any] = []


def ready(unit: Unit) -> bool:
    """Whether the unit is available without compiling."""
    return (unit.key or unit) in _addresses or any(path.exists() for path in _paths(unit))


def addresses(unit: Unit) -> dict[str, int]:
    """The addresses of the unit's functions by name; without a file in the cache it is compiled.

    Raises
    ------
    Uncompilable
        If Numba cannot compile the unit.
    """
    name = unit.key or unit
    if name not in _addresses:
        stored = next((stored for stored in map(_read, _paths(unit)) if stored), None)
        if stored is None:
            stored = _compiled_once(unit, name)
            _write(unit, *stored)
        _addresses[name] = _loaded(*stored)
    return _addresses[name]


def writable() -> bool:
    """Whether any cache folder can be written to."""
    return any(map(_made, folders()))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Context that one process of this user enters at a time, so that none repeats the work."""
    folder = next(filter(_made, folders()), None)
    if folder is None or sys.platform == "win32":
        yield
        return
    import fcntl

    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ---------------------------------------------------------------- what a unit depends on


@functools.cache
def _environment() -> str:
    """A description of everything that the machine code of all units depends on."""
    import llvmlite
    import llvmlite.binding as llvm
    import numpy as np

    package = Path(__file__).parents[2]
    sources = sorted((package / "functions").rglob("*.py"))
    compiled_modules = (
        "blocks", "constants", "grouped", "kernel", "layer", "lowlevel", "normals", "parts",
        "per_sample", "products", "products_bf16", "relay", "sharing", "units", "vector",
    )  # fmt: skip
    sources += [Path(__file__).with_name(f"{name}.py") for name in compiled_modules]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    features = llvm.get_host_cpu_features().flatten()
    versions = [_version_of_numba(), llvmlite.__version__, np.__version__]
    machine = (sys.platform, sys.version, llvm.get_host_cpu_name(), features)
    return repr((digest, versions, machine))


def _version_of_numba() -> str:
    """The text of Numba's version file: importlib.metadata and Numba take long to import."""
    spec = importlib.util.find_spec("numba")
    if spec is not None and spec.origin is not None:
        with contextlib.suppress(OSError):
            return Path(spec.origin).with_name("_version.py").read_text()
    from importlib.metadata import version

    return version("numba")


def _stable(value: Any) -> Any:
    """A description of a value by content; of a function, with everything that it refers to."""
    if isinstance(value, (str, int, float, bool, bytes, type(None))):
        return value
    if isinstance(value, (tuple, list, frozenset)):
        items = sorted(value, key=repr) if isinstance(value, frozenset) else value
        return tuple(_stable(item) for item in items)
    if isinstance(value, ModuleType):
        return ("module", value.__name__)
    if isinstance(value, CodeType):
        return (value.co_code, value.co_names, value.co_varnames, _stable(value.co_consts))
    if isinstance(value, FunctionType):
        if value.__module__.startswith("deltaprop.functions."):
            return (value.__module__, value.__qualname__, _cells(value))
        names = value.__code__.co_names
        scope = [(n, _stable(value.__globals__[n])) for n in names if n in value.__globals__]
        return (_stable(value.__code__), scope, _cells(value), _stable(value.__defaults__))
    if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return (str(value.dtype), value.item())
    raise Unstorable


def _cells(function: FunctionType) -> Any:
    return [_stable(cell.cell_contents) for cell in function.__closure__ or ()]


# ---------------------------------------------------------------- compiling and loading


def _compiled_once(unit: Unit, name: Any) -> tuple[dict[str, Any], bytes]:
    """Compile the unit, unless that has failed before in this process."""
    if name not in _failed:
        try:
            return _compiled(unit)
        except Exception as error:  # Numba raises many types
            reason = str(error).strip().splitlines()
            last = next((line for line in reversed(reason) if ">>>" in line), (reason or [""])[0])
            _failed[name] = (
                f"Numba cannot compile {unit.name!r} ({last.replace('>>>', '').strip()})"
            )
    raise Uncompilable(_failed[name])


def _compiled(unit: Unit) -> tuple[dict[str, Any], bytes]:
    """A header (functions, required symbols) and an object file per function."""
    header: dict[str, Any] = {"functions": []}
    code = b""
    for name, function in unit.make(*unit.of).items():
        (result,) = function.overloads.values()
        library = result.library
        machine = library._get_compiled_object()
        needs = [f.name for f in library._final_module.functions if f.is_declaration]
        needs = [symbol for symbol in needs if not symbol.startswith("llvm.")]
        symbol = result.fndesc.llvm_func_name
        header["functions"].append([name, symbol, len(machine), needs])
        code += machine
    return header, code


def _loaded(header: dict[str, Any], code: bytes) -> dict[str, int]:
    import llvmlite.binding as llvm

    with contextlib.suppress(RuntimeError):  # newer versions initialize on import
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    loaded, at = {}, 0
    for name, symbol, length, needs in header["functions"]:
        _require_symbols(needs)
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code[at : at + length]))
        engine.finalize_object()
        _kept.append(engine)
        loaded[name] = engine.get_function_address(symbol)
        at += length
    return loaded


def _require_symbols(needs: list[str]) -> None:
    """Raise RuntimeError if a symbol is missing: LLVM would abort the process."""
    import llvmlite.binding as llvm

    def missing() -> list[str]:
        process = ctypes.CDLL(None)
        return [n for n in needs if not hasattr(process, n) and not llvm.address_of_symbol(n)]

    if missing():
        import numba  # noqa: F401  (it registers its helpers with LLVM)
    if missing():
        raise RuntimeError(f"compiled code needs missing symbols: {', '.join(missing())}")


# ---------------------------------------------------------------- files


def folders() -> Iterator[Path]:
    """The possible cache folders, the preferred one first."""
    if given := os.environ.get("DELTAPROP_CACHE_DIR"):
        yield Path(given)
    with contextlib.suppress(RuntimeError):  # no home
        home = Path.home()
        if sys.platform == "win32":
            yield Path(os.environ.get("LOCALAPPDATA", home)) / "deltaprop"
        elif sys.platform == "darwin":
            yield home / "Library" / "Caches" / "deltaprop"
        else:
            yield Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "deltaprop"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    yield Path(tempfile.gettempdir()) / f"deltaprop-{user}"


def _is_private(folder: Path) -> bool:
    """Whether only this user or root can write to the folder."""
    try:
        status = folder.stat()
    except OSError:
        return False
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid in (0, os.getuid()) and not status.st_mode & 0o022


def _made(folder: Path) -> bool:
    """Whether the folder exists or can be created, is private, and can be written to."""
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _is_private(folder) and os.access(folder, os.W_OK)


def _paths(unit: Unit) -> list[Path]:
    if unit.key is None:
        return []
    return [folder / f"{unit.key}.o" for folder in folders() if _is_private(folder)]


def _read(path: Path) -> tuple[dict[str, Any], bytes] | None:
    """The content of the file, or None if it is missing or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    head = len(MAGIC) + 32
    if (
        data[: len(MAGIC)] != MAGIC
        or hashlib.sha256(data[head:]).digest() != data[len(MAGIC) : head]
    ):
        return None
    line, _, code = data[head:].partition(b"\n")
    return json.loads(line), code


def _write(unit: Unit, header: dict[str, Any], code: bytes) -> None:
    """Store the unit in the first usable folder; without one, every process compiles again."""
    if unit.key is None:
        return
    body = json.dumps(header).encode() + b"\n" + code
    data = MAGIC + hashlib.sha256(body).digest() + body
    for folder in filter(_made, folders()):
        with contextlib.suppress(OSError):
            handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                Path(temporary).replace(folder / f"{unit.key}.o")
            except BaseException:
                Path(temporary).unlink()
                raise
            return
