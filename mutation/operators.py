"""The small changes: each mutant differs from the source in one node of its syntax tree."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

BINARY = {
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.Mult: (ast.Div,), ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,), ast.MatMult: (ast.Mult,), ast.Mod: (ast.Mult,), ast.FloorDiv: (ast.Div,),
    ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,),
}  # fmt: skip
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt,), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt,),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
NAMES = {
    "max": "min", "min": "max", "any": "all", "all": "any", "exp": "expm1", "expm1": "exp",
    "log": "log1p", "log1p": "log", "zeros_like": "ones_like", "ones_like": "zeros_like",
    "sum": "mean", "tanh": "sin", "sign": "abs", "sqrt": "abs", "maximum": "minimum",
    "minimum": "maximum", "absolute": "real", "sorted": "list",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of a module.

    Attributes
    ----------
    line : int
    before, after : str
        The code of the changed node.
    source : str
        The whole mutated module.
    key : str
        Names the mutant in the list of equivalent ones: the line's text and the change.
    """

    line: int
    before: str
    after: str
    source: str
    key: str


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module.

    Left as they are: docstrings, annotations, imports, the text of error messages, and what only
    guards against mistakes of programmers (``strict=True``, ``@dataclass(frozen=True)``).
    """
    tree, lines = ast.parse(source), source.splitlines()
    found = []
    for path in _paths(tree):
        node = _at(tree, path)
        for other in _changes(node):
            changed = copy.deepcopy(tree)
            _replace(changed, path, other)
            before, after = ast.unparse(node), ast.unparse(other)
            if before == after:
                continue
            text = lines[node.lineno - 1].strip()
            mutated = ast.unparse(ast.fix_missing_locations(changed))
            found.append(
                Mutant(node.lineno, before, after, mutated, f"{text} | {before} -> {after}")
            )
    return found


def unchanged(source: str) -> Mutant:
    """The module as it is, which must pass the tests."""
    return Mutant(0, "", "", ast.unparse(ast.parse(source)), "")


Path = tuple[tuple[str, int | None], ...]


def _paths(node: ast.AST, path: Path = ()) -> Iterator[Path]:
    """The ways to all nodes that may change."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_params", "ctx"):
            continue
        children = value if isinstance(value, list) else [value]
        for k, child in enumerate(children):
            if not isinstance(child, ast.AST) or _is_left_alone(node, child):
                continue
            step = (name, k if isinstance(value, list) else None)
            yield (*path, step)
            yield from _paths(child, (*path, step))


def _is_left_alone(parent: ast.AST, child: ast.AST) -> bool:
    if isinstance(child, (ast.Import, ast.ImportFrom, ast.Raise)):
        return True
    if isinstance(child, ast.keyword) and child.arg == "strict":
        return True
    if _is_last_axis(parent, child):
        return True
    if isinstance(parent, ast.UnaryOp) and isinstance(child, ast.Constant):
        return True  # -1 becomes 1, and not -2, which NumPy's reshape takes for -1
    if isinstance(child, ast.Call) and ast.unparse(child.func) == "dataclass":
        return True
    if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
        return True  # a docstring
    if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
        return True
    is_alias = isinstance(child, ast.Assign) and ast.unparse(child.targets[0]) in (
        "State", "Shapes", "Masks", "Samples", "__all__",
    )  # fmt: skip
    is_alias = is_alias or (
        isinstance(child, ast.Assign) and ast.unparse(child.value).startswith("Literal[")
    )
    return is_alias or isinstance(child, ast.FormattedValue | ast.JoinedStr)


def _is_last_axis(parent: ast.AST, child: ast.AST) -> bool:
    """Whether -1 stands for the last of two axes, which is 1: all arrays are matrices."""
    if ast.unparse(child) != "-1":
        return False
    is_shape = isinstance(parent, ast.Subscript) and ast.unparse(parent.value).endswith(".shape")
    return is_shape or (isinstance(parent, ast.keyword) and parent.arg == "axis")


def _at(node: ast.AST, path: Path) -> ast.AST:
    for name, k in path:
        node = getattr(node, name) if k is None else getattr(node, name)[k]
    return node


def _replace(tree: ast.AST, path: Path, other: ast.AST) -> None:
    parent = _at(tree, path[:-1])
    name, k = path[-1]
    if k is None:
        setattr(parent, name, other)
    else:
        getattr(parent, name)[k] = other


# ---------------------------------------------------------------- changes of one node


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BinOp):
        for operator in BINARY.get(type(node.op), ()):
            yield _with(node, op=operator())
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for operator in COMPARISONS.get(type(node.ops[0]), ()):
            yield _with(node, ops=[operator()])
    elif isinstance(node, ast.Compare):
        for k, each in enumerate(node.ops):
            for operator in COMPARISONS.get(type(each), ()):
                yield _with(node, ops=[*node.ops[:k], operator(), *node.ops[k + 1 :]])
    elif isinstance(node, ast.BoolOp):
        yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield _with(node, body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.If):
        yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Return) and node.value is not None:
        yield from _other_results(node)
    elif isinstance(node, ast.Constant):
        yield from _other_constants(node)
    elif isinstance(node, ast.Call):
        yield from _other_calls(node)
    elif isinstance(node, ast.AugAssign):
        yield ast.Assign(targets=[node.target], value=node.value, lineno=node.lineno)


def _with(node: ast.AST, **changes: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


def _other_results(node: ast.Return) -> Iterator[ast.AST]:
    is_none = isinstance(node.value, ast.Constant) and node.value.value is None
    if not is_none:
        yield _with(node, value=ast.Constant(None))


def _other_constants(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield _with(node, value=not value)
    elif isinstance(value, int):
        yield _with(node, value=value + 1)
    elif isinstance(value, float):
        yield _with(node, value=2 * value if value else 1.0)
    elif isinstance(value, str) and value:
        yield _with(node, value=f"XX{value}XX")


def _other_calls(node: ast.Call) -> Iterator[ast.AST]:
    for k, keyword in enumerate(node.keywords):
        if keyword.arg == "strict":
            continue
        yield _with(node, keywords=node.keywords[:k] + node.keywords[k + 1 :])
    called = node.func
    if isinstance(called, ast.Name) and called.id in NAMES:
        yield _with(node, func=_with(called, id=NAMES[called.id]))
    if isinstance(called, ast.Attribute) and called.attr in NAMES:
        yield _with(node, func=_with(called, attr=NAMES[called.attr]))
