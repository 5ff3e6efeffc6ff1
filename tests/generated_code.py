"""Exported models that are run: C headers with gcc's sanitizers, Python files in a process."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

FLAGS = [
    "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wstrict-prototypes",
    "-Wconversion", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
]  # fmt: skip

MAIN = r"""
#include <stdio.h>
#include "model.h"

/* Reads rows of fields that end in a unit separator, and writes each prediction on a line. */
int main(void)
{
    static char field[65536];
    size_t length = 0;
    int letter, column = 0;
    START
    while ((letter = getchar()) != EOF) {
        if (letter == 31) {
            field[length] = 0;
            SET
            column++;
            length = 0;
        } else if (letter == 30) {
            PREDICT
            printf("\n");
            column = 0;
            START_AGAIN
        } else {
            field[length++] = (char)letter;
        }
    }
    return 0;
}
"""
LISTED = 'for (int i = 0; i < {n}; i++) printf("%.17g%c", {what}[i], 31);'


def words(X):
    """The cells of a table as text; None for missing values."""
    columns = []
    for name in X.columns:
        cells = X[name].astype(object)
        columns.append([None if _is_missing(cell) else _word(cell) for cell in cells])
    return list(map(list, zip(*columns, strict=True)))


def _is_missing(cell):
    return cell is None or cell != cell or type(cell).__name__ in ("NAType", "NaTType")


def _word(cell):
    return repr(float(cell)) if isinstance(cell, (float, np.floating)) else str(cell)


def require_gcc():
    """Skip the test if there is no compiler to run the exported C with."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")


class C:
    """A header, compiled with a program that predicts for rows of text.

    Parameters
    ----------
    folder : Path
        It contains model.h.
    """

    def __init__(self, folder):
        require_gcc()
        self.header, self.program = (folder / "model.h").read_text(), folder / "program"
        assert not re.search(r"\b(malloc|calloc|realloc|alloca|free) *\(", self.header)
        source = MAIN
        for name, code in self._calls().items():
            source = source.replace(name, code)
        (folder / "main.c").write_text(source)
        command = ["gcc", *FLAGS, "main.c", "-o", "program", "-lm"]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr

    def _calls(self):
        of_table, argument = "model_row" in self.header, "x"
        calls = {
            "START_AGAIN": "",
            "START": "double x[MODEL_N_COLUMNS];",
            "SET": "x[column] = strtod(field, NULL);",
        }
        if not of_table:
            calls["SET"] = 'sscanf(field, "%lf", &x[column]);'
        else:
            argument = "&row"
            calls = {
                "START_AGAIN": "row = model_empty_row();",
                "START": "model_row row = model_empty_row();",
                "SET": 'model_set(&row, column, strcmp(field, "\\x1d") ? field : NULL);',
            }
        return calls | {"PREDICT": self._predict(argument)}

    def _predict(self, argument):
        if "model_outputs" in self.header:
            return f"double y[MODEL_N_OUTPUTS]; model_predict({argument}, y); " + LISTED.format(
                n="MODEL_N_OUTPUTS", what="y"
            )
        method = "predict_proba" if "predict_proba" in self.header else "decision_function"
        n = "MODEL_N_CLASSES"
        code = f"double p[{n}] = {{0}}; model_{method}({argument}, p); "
        code += LISTED.format(n=n, what="p")
        if "int *y" in self.header:
            return code + (
                f"int y[{n}]; model_predict({argument}, y); "
                f'for (int i = 0; i < {n}; i++) printf("%d%c", y[i], 31);'
            )
        return code + f'printf("%s%c", model_classes[model_predict({argument})], 31);'

    def predict(self, rows):
        """The fields that the program prints for each row of text."""
        text = "".join(
            "".join(("\x1d" if word is None else word) + "\x1f" for word in row) + "\x1e"
            for row in rows
        )
        run = subprocess.run(
            [str(self.program)], input=text.encode(), capture_output=True, check=False
        )
        assert run.returncode == 0, run.stderr.decode()
        lines = run.stdout.decode().split("\x1f\n")[:-1]
        return [line.split("\x1f") for line in lines]


def python_predictions(path, rows):
    """What `predict` and `predict_proba` of a file return for dicts, without other packages."""
    code = (
        "import json, runpy, sys\n"
        f"model = runpy.run_path({str(path)!r})\n"
        "found = []\n"
        "for row in json.load(sys.stdin):\n"
        "    try: P = model['predict_proba'](row)\n"
        "    except ValueError: P = None\n"
        "    found.append([model['predict'](row), P])\n"
        "json.dump(found, sys.stdout)\n"
    )
    # -S: without site-packages; -I: without the current folder and PYTHONPATH.
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], input=json.dumps(rows), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def python_program(path, X, *arguments):
    """The rows that the file writes as a program for the rows of a table."""
    run = subprocess.run(
        [sys.executable, "-I", "-S", str(path), *arguments], input=X.to_csv(index=False),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return list(csv.DictReader(io.StringIO(run.stdout)))
