"""Options in a TOML file: ``--config`` reads them, ``--save-config`` writes them."""

from __future__ import annotations

import json
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from deltaprop.errors import InputError

NOT_SAVED = ("config", "save-config", "help")


def read_config(context: typer.Context, path: str | None) -> str | None:
    """Take the values of a file as the defaults of a command; its options have precedence.

    Raises
    ------
    InputError
        If the file cannot be read, or has a key that is no option of the command.
    """
    if path is None:
        return None
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"--config: there is no file {path!r}.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"--config: {path!r} cannot be read as TOML: {error}.") from error
    parameters = _by_option(context)
    defaults = {}
    for key, value in values.items():
        if key not in parameters:
            near = get_close_matches(key, parameters, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise InputError(f"--config: {path!r} has an unknown option, {key!r}{hint}")
        parameter = parameters[key]
        defaults[parameter.name] = _joined(value, several=getattr(parameter, "multiple", False))
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def write_config(context: typer.Context, path: str) -> None:
    """Write the arguments and options of a command that have a value.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    from deltaprop.storage.places import write_bytes

    lines = [f"# deltaprop {context.command.name} --config {path}\n"]
    for parameter in context.command.params:
        key, value = _names(parameter)[0], context.params.get(str(parameter.name))
        if key not in NOT_SAVED and value is not None and value != []:
            lines.append(f"{key} = {_toml(value)}\n")
    write_bytes(path, "".join(lines).encode())


def _by_option(context: typer.Context) -> dict[str, Any]:
    """The parameters of the command, by the long names of their options without dashes."""
    return {name: p for p in context.command.params for name in _names(p)}


def _names(parameter: Any) -> list[str]:
    """An argument has one name, an option may have several."""
    options = [name.removeprefix("--") for name in parameter.opts if name.startswith("--")]
    return options or [str(parameter.name)]


def _joined(value: Any, several: bool) -> Any:
    """A list as the command line has it: 128,64."""
    if isinstance(value, list) and not several:
        return ",".join(map(str, value))
    return [value] if several and not isinstance(value, list) else value


def _toml(value: Any) -> str:
    """A value as TOML, which writes texts, numbers and lists of them as JSON does."""
    return json.dumps(list(value) if isinstance(value, (list, tuple)) else value)
