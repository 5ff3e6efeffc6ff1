"""``to_c``: a model as a C99 header without dependencies."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop._version import __version__
from deltaprop.data.columns.words import MISSING_WORDS
from deltaprop.export import c_functions as functions
from deltaprop.export.identifiers import identifiers, prefix_of
from deltaprop.files.searches import best_of_search
from deltaprop.plan.planning import NotPlain, plan_of
from deltaprop.plan.steps import CategoryStep, Classes, DateStep, Numbers, NumberStep
from deltaprop.storage.places import Place, write_bytes

if TYPE_CHECKING:
    from deltaprop.plan.steps import ColumnStep, DenseStep, Plan

WIDTH = 100  # of a line
SHOWN = 5  # categories in a comment
PER_LINE = 10  # numbers of an array
PARTS = ("year", "month", "day", "hour", "total_seconds")


def to_c(model: Any, path: Place, *, name: str | None = None) -> int:
    """Write a model as a C99 header, which needs nothing but the standard library.

    The header contains the weights as constants and functions that predict. They allocate no memory
    and share no state, so that several threads may call them. Its first comment is an example of
    how it is used. Include it in one source file, and link with ``-lm``.

    Parameters
    ----------
    model : Network, MLP estimator, tabular estimator or search
        Estimators must be fitted. Of a search, such as ``GridSearchCV``, this is its best
        estimator. Columns may be numbers, booleans, durations, categories, and dates
        without a time zone or in UTC.
    path : str or Path
        Usually ends in ``.h``. May be a URL, as for :func:`deltaprop.save`.
    name : str, optional
        The prefix of all names in the header; by default the name of the file.

    Returns
    -------
    int
        The size of the header in bytes.

    Raises
    ------
    ValueError
        If a part of the model cannot be written in C, such as a column of text or a custom
        activation; the message names it and the alternatives.

    Examples
    --------
    >>> import deltaprop as dp, tempfile, os
    >>> net = dp.Network(2, [dp.Dense(1, "tanh")], loss="squared_error", seed=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "model.h")
    >>> dp.to_c(net, path) == os.path.getsize(path)
    True
    """
    source = c_source(plan_of(best_of_search(model)), prefix_of(str(path), name))
    data = source.encode()
    write_bytes(path, data)
    return len(data)


def c_source(plan: Plan, name: str) -> str:
    """The header, whose names start with `name`."""
    return _Header(plan, name).text()


class _Header:
    """The parts of the header of a plan."""

    def __init__(self, plan: Plan, name: str) -> None:
        self.plan, self.name = plan, name
        self.fields = dict(
            zip((step.name for step in plan.columns), identifiers(plan.inputs), strict=False)
        )
        self.row = f"const {name}_row *row" if plan.columns else "const double *x"
        for step in plan.columns:
            _require_writable(step)

    def text(self) -> str:
        parts = [
            self._comment(), self._top(), *self._inputs(), *self._encoding(), *self._networks(),
            *self._predictions(), f"#endif /* {self.name.upper()}_H */\n",
        ]  # fmt: skip
        return "\n".join(filter(None, parts))

    def _filled(self, template: str, **values: object) -> str:
        """A template of `c_functions` with this model's names and numbers."""
        single = self.plan.dtype == np.float32
        for key, value in values.items():
            template = template.replace(key, str(value))
        return (
            template.replace("$NAME", self.name)
            .replace("$REAL", "float" if single else "double")
            .replace("@(", "f(" if single else "(")
            .replace("@", "f" if single else "")
        )

    # ------------------------------------------------------------ the beginning

    def _comment(self) -> str:
        plan, name = self.plan, self.name
        chain = " -> ".join(
            [str(plan.n_encoded), *(f"{len(s.b)} {s.activation}" for s in plan.networks[0])]
        )
        number = len(plan.networks)
        networks = f"{number} networks, whose outputs are averaged" if number > 1 else "a network"
        lines = [
            f"{name}: predictions of a model of deltaprop {__version__}, in C99.", "",
            f"The model is {networks}: {chain}.",
            "This header needs nothing but the standard library: link with -lm. It allocates no",
            f"memory, and its functions use about {self._stack_bytes():,} bytes of the stack.", "",
            *(f"    {line}" for line in self._example()),
        ]  # fmt: skip
        return "\n".join(
            ["/* " + lines[0], *(f" * {line}".rstrip() for line in lines[1:]), " */", ""]
        )

    def _example(self) -> list[str]:
        plan, name = self.plan, self.name
        lines = [f'#include "{name}.h"', ""]
        if plan.columns:
            lines += [f"{name}_row row = {name}_empty_row(); // every value is missing"]
            for step in plan.columns[:3]:
                field, value = self.fields[step.name], "1.5"
                if isinstance(step, CategoryStep):
                    value = f"{name}_{field}_code({_commented(_quoted(step.labels[0]))})"
                lines.append(f"row.{field} = {value};")
            argument = "&row"
        else:
            lines.append(f"double x[{plan.n_encoded}] = {{1.5}};")
            argument = "x"
        out = plan.output
        if isinstance(out, Numbers):
            return [*lines, f"double y[{len(out.names)}];", f"{name}_predict({argument}, y);"]
        if out.margins:
            lines += [f"double margins[{plan.n_outputs}];"]
            lines += [f"{name}_decision_function({argument}, margins);"]
        else:
            lines += [f"double p[{len(out.labels)}]; // one for each of {name}_classes"]
            lines += [f"{name}_predict_proba({argument}, p);"]
        if out.several:
            return [*lines, f"int y[{len(out.labels)}];", f"{name}_predict({argument}, y);"]
        return [*lines, f"puts({name}_classes[{name}_predict({argument})]);"]

    def _stack_bytes(self) -> int:
        plan = self.plan
        numbers = plan.n_encoded + 3 * self._widest() + 2 * plan.n_outputs
        if isinstance(plan.output, Numbers) and plan.output.gaussian:
            numbers += len(plan.networks) * plan.n_outputs
        return numbers * plan.dtype.itemsize

    def _widest(self) -> int:
        return max(len(step.b) for layers in self.plan.networks for step in layers)

    def _top(self) -> str:
        guard = f"{self.name.upper()}_H"
        headers = ["math.h", "stddef.h", *["stdlib.h", "string.h"] * bool(self.plan.columns)]
        includes = "\n".join(f"#include <{header}>" for header in headers)
        return f"#ifndef {guard}\n#define {guard}\n\n{includes}\n"

    # ------------------------------------------------------------ the columns of a row

    def _inputs(self) -> Iterable[str]:
        plan, name = self.plan, self.name
        n = len(plan.inputs)
        yield f"#define {name.upper()}_N_COLUMNS {n}\n"
        yield _strings(f"{name}_columns", plan.inputs)
        if not plan.columns:
            return
        lines = [_field(step, self.fields[step.name], name) for step in plan.columns]
        yield "typedef struct {\n" + "\n".join(lines) + f"\n}} {name}_row;\n"
        of_categories = [step for step in plan.columns if isinstance(step, CategoryStep)]
        yield self._filled(functions.MISSING_WORDS, WORDS=_literals(sorted(MISSING_WORDS)))
        if of_categories:
            yield self._filled(functions.CATEGORY)
        for step in of_categories:
            yield self._labels(step)
        yield self._empty_row()
        yield from self._set()

    def _labels(self, step: CategoryStep) -> str:
        field, name = self.fields[step.name], self.name
        test = "word == NULL"
        if step.missing_words:
            test += f" || {name}_is_missing(word)"
        return (
            _strings(f"{name}_{field}_labels", step.labels)
            + f"static inline int {name}_{field}_code(const char *word)\n{{\n"
            f"    return {test} ? -1 : {name}_find(word, {name}_{field}_labels, "
            f"{len(step.labels)});\n}}\n"
        )

    def _empty_row(self) -> str:
        values = ("-1" if isinstance(step, CategoryStep) else "NAN" for step in self.plan.columns)
        name = self.name
        return (
            f"/* A row whose values are all missing. */\nstatic inline {name}_row "
            f"{name}_empty_row(void)\n{{\n    const {name}_row row = {{{', '.join(values)}}};\n"
            "    return row;\n}\n"
        )

    def _set(self) -> Iterable[str]:
        if not all(isinstance(step, CategoryStep) for step in self.plan.columns):
            yield self._filled(functions.PARSE)
        cases = []
        for i, step in enumerate(self.plan.columns):
            field = self.fields[step.name]
            if isinstance(step, CategoryStep):
                cases.append(
                    f"    case {i}: row->{field} = {self.name}_{field}_code(text); return 1;"
                )
            else:
                cases.append(f"    case {i}: return {self.name}_parse(text, &row->{field});")
        yield (
            f"/* Set the value of a column, an index of {self.name}_columns, from text as in CSV.\n"
            "   Returns 0 if a number is expected and not found, which is then missing. */\n"
            f"static inline int {self.name}_set"
            f"({self.name}_row *row, int column, const char *text)\n"
            "{\n    switch (column) {\n" + "\n".join(cases) + "\n    default: return 0;\n    }\n}\n"
        )

    # ------------------------------------------------------------ from a row to x

    def _encoding(self) -> Iterable[str]:
        plan = self.plan
        if not plan.columns:
            return
        kinds = {type(step) for step in plan.columns}
        if kinds & {NumberStep, DateStep}:
            yield self._filled(functions.NUMBER)
        normal = [s for s in plan.columns if isinstance(s, NumberStep) and s.knots is not None]
        if normal:
            yield self._filled(functions.NORMAL)
        for step in normal:
            assert step.knots is not None
            yield self._doubles(f"{self.fields[step.name]}_knots", step.knots)
        if DateStep in kinds:
            yield self._filled(functions.DATE)
        if plan.bins is not None:
            bins = plan.bins
            yield self._array("bin_source", bins.source, "int")
            yield self._array("bin_low", bins.low)
            yield self._array("bin_high", bins.high)
            yield self._filled(functions.BINS, N_BINS=len(bins.source), FIRST_BIN=bins.at)
        lines = [line for step in plan.columns for line in self._written(step)]
        if plan.bins is not None:
            lines.append("$NAME_write_bins(x);")
        body = "\n".join(f"    {line}" for line in lines)
        yield self._filled(
            "static inline void $NAME_encode(const $NAME_row *row, $REAL *x)\n{\n" + body + "\n}\n"
        )

    def _written(self, step: ColumnStep) -> list[str]:
        """The statements that write the entries of a column."""
        value = f"row->{self.fields[step.name]}"
        if isinstance(step, CategoryStep):
            return self._written_category(step, value)
        if isinstance(step, DateStep):
            return self._written_date(step, value)
        scaled = f"$NAME_scaled({value}, {step.center!r}, {step.scale!r})"
        if step.knots is not None:
            knots = f"$NAME_{self.fields[step.name]}_knots"
            scaled = f"$NAME_normal({value}, {knots}, {len(step.knots)})"
        lines = [f"x[{step.at}] = {scaled};"]
        if step.flag is not None:
            ends = f"{self._number(step.high)} : {self._number(step.low)}"
            lines.append(f"x[{step.flag}] = isnan({value}) ? {ends};")
        return lines

    def _written_date(self, step: DateStep, value: str) -> list[str]:
        lines = ["{", "    double part[5];", f"    $NAME_date({value}, part);"]
        for i, part in enumerate(step.parts):
            scale = f"{float(step.center[i])!r}, {float(step.scale[i])!r}"
            lines.append(
                f"    x[{step.at + i}] = $NAME_scaled(part[{PARTS.index(part)}], {scale});"
            )
            if step.flag is not None:
                ends = f"{self._number(step.low[i])} : {self._number(step.high[i])}"
                lines.append(f"    x[{step.flag + i}] = isfinite({value}) ? {ends};")
        return [*lines, "}"]

    def _written_category(self, step: CategoryStep, value: str) -> list[str]:
        n, k = len(step.labels), len(step.low)
        known = value if not n or step.places[0] == 0 else f"{value} - 1"
        place = f"{value} == -1 ? {step.missing} : "
        place += f"{value} >= 0 && {value} < {n} ? {known} : {step.unknown}"
        ends = [f"{{{', '.join(map(self._number, end))}}}" for end in (step.low, step.high)]
        return [
            "{",
            *textwrap.wrap(f"static const $REAL low[{k}] = {ends[0]}, high[{k}] = {ends[1]};",
                           WIDTH - 8, initial_indent="    ", subsequent_indent="        "),
            f"    $NAME_category(x + {step.at}, {k}, {place}, low, high);",
            "}",
        ]  # fmt: skip

    # ------------------------------------------------------------ networks

    def _networks(self) -> Iterable[str]:
        plan = self.plan
        used = sorted({step.activation for layers in plan.networks for step in layers})
        yield from self._activations([name for name in used if name != "identity"])
        yield self._filled(functions.NETWORK)
        for m, layers in enumerate(plan.networks):
            for l, step in enumerate(layers):
                yield self._array(f"W_{m}_{l}", step.W)
                yield self._array(f"b_{m}_{l}", step.b)
                if step.alpha is not None:
                    yield self._array(f"alpha_{m}_{l}", step.alpha)
        rows = [
            "    {"
            + ", ".join(self._layer(step, f"{m}_{l}") for l, step in enumerate(layers))
            + "}"
            for m, layers in enumerate(plan.networks)
        ]
        n_layers, n_networks = len(plan.networks[0]), len(plan.networks)
        head = f"static const $NAME_layer $NAME_networks[{n_networks}][{n_layers}] = {{\n"
        yield self._filled(head + ",\n".join(rows) + "\n};\n")
        mixed = any(step.alpha is not None for layers in plan.networks for step in layers)
        sizes = {"WIDEST": self._widest(), "N_LAYERS": n_layers}
        activate = functions.ACTIVATE_MIXED if mixed else functions.ACTIVATE
        yield self._filled(functions.FORWARD, ACTIVATE=activate, **sizes)
        gaussian = isinstance(plan.output, Numbers) and plan.output.gaussian
        mean = functions.MIXTURE if gaussian else functions.MEAN
        yield self._filled(mean, N_OUTPUTS=plan.n_outputs, N_NETWORKS=n_networks)

    def _activations(self, used: Sequence[str]) -> Iterable[str]:
        values = {name: functions.ELEMENTWISE.get(name, "") for name in used}
        for helper, source in functions.HELPERS.items():
            if any(helper in value for value in values.values()):
                yield self._filled(source)
        for name, value in values.items():
            template = functions.COUPLED.get(name, functions.APPLY)
            yield self._filled(template, ACTIVATION=name, VALUE=value)

    def _layer(self, step: DenseStep, suffix: str) -> str:
        D, H = step.W.shape
        alpha = "NULL" if step.alpha is None else f"$NAME_alpha_{suffix}"
        f = "NULL" if step.activation == "identity" else f"$NAME_f_{step.activation}"
        return f"{{{D}, {H}, $NAME_W_{suffix}, $NAME_b_{suffix}, {alpha}, {f}}}"

    # ------------------------------------------------------------ predictions

    def _predictions(self) -> Iterable[str]:
        plan = self.plan
        yield self._outputs_for_row()
        if isinstance(plan.output, Numbers):
            yield from self._numbers(plan.output)
        else:
            yield from self._classes(plan.output)

    def _outputs_for_row(self) -> str:
        n = self.plan.n_encoded
        if self.plan.columns:
            encode = f"    $REAL x[{n}];\n    $NAME_encode(row, x);\n    $NAME_output(x, z);\n"
        else:
            encode = (
                f"    $REAL values[{n}];\n"
                f"    for (int j = 0; j < {n}; j++) values[j] = ($REAL)x[j];\n"
                "    $NAME_output(values, z);\n"
            )
        return self._filled(
            f"static inline void $NAME_output_for_row({self.row}, $REAL *z)\n{{\n{encode}}}\n"
        )

    def _numbers(self, out: Numbers) -> Iterable[str]:
        n, upper = len(out.names), self.name.upper()
        yield f"#define {upper}_N_OUTPUTS {n}\n"
        yield _strings(f"{self.name}_outputs", out.names)
        yield self._doubles("mean", out.mean)
        yield self._doubles("scale", out.scale)
        value = (
            f"h < {n // 2} ? (double)z[h] : sqrt((double)z[h])" if out.gaussian else "(double)z[h]"
        )
        yield self._filled(
            "/* The predictions, one for each of $NAME_outputs. */\n"
            f"static inline void $NAME_predict({self.row}, double *y)\n{{\n    $REAL z[{n}];\n"
            f"    $NAME_output_for_row({self._given()}, z);\n"
            f"    for (int h = 0; h < {n}; h++)\n"
            f"        y[h] = ({value}) * $NAME_scale[h] + $NAME_mean[h];\n}}\n"
        )

    def _given(self) -> str:
        return "row" if self.plan.columns else "x"

    def _classes(self, out: Classes) -> Iterable[str]:
        C, H, name = len(out.labels), self.plan.n_outputs, self.name
        yield f"#define {name.upper()}_N_CLASSES {C}\n"
        yield _strings(f"{name}_classes", [str(label) for label in out.labels])
        method = "decision_function" if out.margins else "predict_proba"
        what = (
            "The signed margins." if out.margins else f"The probability of each of {name}_classes."
        )
        last = f"    for (int h = 0; h < {H}; h++) p[h] = (double)z[h];\n"
        if out.ordered:
            last = functions.ORDERED.replace("N_OUTPUTS", str(H))
        elif out.pair and not out.margins:
            last = "    p[0] = 1;\n" if C == 1 else (
                "    p[0] = (double)(1 - z[0]);\n    p[1] = (double)z[0];\n"
            )  # fmt: skip
        yield self._filled(
            f"/* {what} */\nstatic inline void $NAME_{method}({self.row}, double *p)\n{{\n"
            f"    $REAL z[{H}];\n    $NAME_output_for_row({self._given()}, z);\n{last}}}\n"
        )
        n_values = H if out.margins else C
        yield from self._decision(out, n_values)
        kind, many = ("void", ", int *y") if out.several else ("int", "")
        call = f"$NAME_decide(p{', y' if out.several else ''});\n"
        yield self._filled(
            f"static inline {kind} $NAME_predict({self.row}{many})\n{{\n"
            f"    double p[{n_values}];\n    $NAME_{method}({self._given()}, p);\n"
            f"    {'' if out.several else 'return '}{call}}}\n"
        )

    def _decision(self, out: Classes, n: int) -> Iterable[str]:
        """The function that decides for classes, given probabilities or margins."""
        of = "margins" if out.margins else "probabilities"
        if out.several:
            assert out.threshold is not None
            yield self._doubles("threshold", out.threshold)
            yield self._filled(
                f"/* 1 for each of $NAME_classes that is predicted, else 0, given {of}. */\n"
                "static inline void $NAME_decide(const double *p, int *y)\n{\n"
                f"    for (int k = 0; k < {n}; k++) y[k] = p[k] > $NAME_threshold[k];\n}}\n"
            )
            return
        if len(out.labels) == 1:
            body = "    (void)p;\n    return 0;\n"
        elif out.threshold is not None:
            body = f"    return p[{n - 1}] > {float(out.threshold[0])!r};\n"
        elif out.cost is not None:
            yield self._doubles("cost", out.cost)
            body = (
                "    int best = 0;\n    double least = INFINITY;\n"
                f"    for (int j = 0; j < {n}; j++) {{\n        double cost = 0;\n"
                f"        for (int i = 0; i < {n}; i++) cost += p[i] * $NAME_cost[i * {n} + j];\n"
                "        if (cost < least) { least = cost; best = j; }\n    }\n    return best;\n"
            )
        else:
            body = (
                f"    int best = 0;\n    for (int k = 1; k < {n}; k++)\n"
                "        if (p[k] > p[best]) best = k;\n    return best;\n"
            )
        yield self._filled(
            f"/* The index of the class in $NAME_classes that is predicted, given {of}. */\n"
            f"static inline int $NAME_decide(const double *p)\n{{\n{body}}}\n"
        )

    # ------------------------------------------------------------ constants

    def _number(self, value: Any) -> str:
        return _literals_of(np.array([value], self.plan.dtype))[0]

    def _array(self, name: str, values: np.ndarray, kind: str | None = None) -> str:
        if kind is None:
            kind = "float" if self.plan.dtype == np.float32 else "double"
        return _constants(f"{self.name}_{name}", kind, values)

    def _doubles(self, name: str, values: np.ndarray) -> str:
        return _constants(f"{self.name}_{name}", "double", np.asarray(values, np.float64))


def _require_writable(step: ColumnStep) -> None:
    if isinstance(step, DateStep) and step.zone not in (None, "UTC"):
        raise NotPlain(
            f"Column {step.name!r} holds dates in the time zone {step.zone}, which C does not "
            "know. Convert them to UTC and fit again, or export the model to Python."
        )
    if isinstance(step, CategoryStep) and any("\0" in label for label in step.labels):
        raise NotPlain(
            f"Column {step.name!r} has a category with a NUL character, which strings of C cannot "
            "contain. Rename it and fit again, or export the model to Python."
        )


def _field(step: ColumnStep, field: str, name: str) -> str:
    """The declaration of a column in the row."""
    shown = _commented(_quoted(step.name))
    if isinstance(step, CategoryStep):
        words = ", ".join(map(_quoted, step.labels[:SHOWN])) + ", ..." * (len(step.labels) > SHOWN)
        what = (
            f"{shown}: the index in {name}_{field}_labels ({_commented(words)}); "
            f"{len(step.labels)} for others, -1 if missing"
        )
        return f"    int {field}; /* {what} */"
    unit = "a number"
    if isinstance(step, DateStep):
        unit = "seconds since 1970-01-01 00:00" + " UTC" * (step.zone is not None)
    elif step.unit:
        unit = step.unit
    return f"    double {field}; /* {shown}: {unit}; NAN if missing */"


def _commented(text: str) -> str:
    """Text that cannot end a comment or begin one in it."""
    return text.replace("*/", "* /").replace("/*", "/ *")


def _literals_of(values: np.ndarray) -> list[str]:
    """Finite numbers in C, with as many digits as their dtype needs."""
    ending = "f" if values.dtype == np.float32 else ""
    return [_shortened(word) + ending for word in np.ravel(values).astype(str).tolist()]


def _shortened(word: str) -> str:
    """0.5 as .5, and 2.0 as 2. with a point, so that it is no integer."""
    word = word.removesuffix("0") if word.endswith(".0") else word
    sign, digits = ("-", word[1:]) if word.startswith("-") else ("", word)
    if "." not in digits and "e" not in digits:
        digits += "."
    return sign + (digits[1:] if digits.startswith("0.") and len(digits) > 2 else digits)


def _constants(name: str, kind: str, values: np.ndarray) -> str:
    """The definition of an array of numbers."""
    words = [str(int(v)) for v in values] if kind == "int" else _literals_of(values)
    lines = [", ".join(words[i : i + PER_LINE]) for i in range(0, len(words), PER_LINE)]
    body = ",\n".join(lines)
    return f"static const {kind} {name}[{len(words)}] = {{\n{body}\n}};\n"


def _strings(name: str, words: Sequence[str]) -> str:
    body = ",\n".join(f"    {_quoted(word)}" for word in words)
    return f"static const char *const {name}[{len(words)}] = {{\n{body}\n}};\n"


def _literals(words: Iterable[str]) -> str:
    return ", ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    """A string in C: UTF-8, of which bytes outside of ASCII are written in octal."""
    letters = []
    for byte in word.encode("utf-8", "surrogatepass"):
        letter = chr(byte)
        if letter in '"\\?':  # ?? would begin a trigraph
            letters.append("\\" + letter)
        else:
            letters.append(letter if 32 <= byte < 127 else f"\\{byte:03o}")
    return '"' + "".join(letters) + '"'
