"""``python -m benchmarks.footprint``: size and import time of the light and the full installation.

Both are installed into new virtual environments, unless their Pythons are given. The times are
those of new processes, medians of interleaved runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
INSTALLED = {"light": (["numpy"], ["--no-deps", str(ROOT)]), "full": ([str(ROOT)],)}
TRAIN = """
import deltaprop as dp
table = dp.tables.read_table({table!r})
X, y = table.drop(columns="species"), table["species"]
dp.save(dp.TabularClassifier(random_state=0).fit(X, y), {model!r})
"""
ROW = {
    "island": ["Biscoe"], "bill_length_mm": [50.0], "bill_depth_mm": [15.2],
    "flipper_length_mm": [218], "body_mass_g": [5700], "sex": ["male"], "year": [2008],
}  # fmt: skip
STARTS = {
    "python -c pass": {"light": "pass", "full": "pass"},
    "import numpy": {"light": "import numpy", "full": "import numpy"},
    "import deltaprop": {"light": "import deltaprop", "full": "import deltaprop"},
    "import a model": {
        "light": "import deltaprop.files.light",
        "full": "import deltaprop; deltaprop.TabularClassifier",
    },
    "predict one row": {
        "light": "import deltaprop as dp; dp.load({model!r}, light=True).predict({row})",
        "full": "import deltaprop as dp, pandas as pd; "
        "dp.load({model!r}).predict(pd.DataFrame({row}))",
    },
}


def main() -> None:
    options = parsed()
    with tempfile.TemporaryDirectory() as folder:
        pythons = {
            kind: getattr(options, kind) or installed(Path(folder) / kind, INSTALLED[kind])
            for kind in INSTALLED
        }
        model = str(Path(folder) / "model.dp")
        code = TRAIN.format(table=str(ROOT / "data" / "penguins.csv"), model=model)
        subprocess.run([pythons["full"], "-c", code], check=True, cwd=folder)
        print(f"{'':18}{'light':>10}{'full':>10}")
        sizes = [megabytes(pythons[kind]) for kind in INSTALLED]
        print(f"{'installed, MB':18}" + "".join(f"{size:>10,.0f}" for size in sizes))
        for name, codes in STARTS.items():
            known = {"model": model, "row": ROW}
            ready = {kind: code.format(**known) for kind, code in codes.items()}
            found = seconds(pythons, ready, options.turns, folder)
            print(f"{name + ', s':18}" + "".join(f"{found[kind]:>10.2f}" for kind in INSTALLED))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--light", type=os.path.abspath, metavar="PYTHON", help="of an environment that has it"
    )
    parser.add_argument(
        "--full", type=os.path.abspath, metavar="PYTHON", help="of an environment that has it"
    )
    parser.add_argument("--turns", type=int, default=5)
    return parser.parse_args()


def installed(folder: Path, steps: tuple[list[str], ...]) -> str:
    """The Python of a new environment, after some calls of pip."""
    venv.create(folder, with_pip=True)
    python = str(folder / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    for step in steps:
        subprocess.run([python, "-m", "pip", "install", "-q", *step], check=True)
    return python


def megabytes(python: str) -> float:
    """The files in site-packages, without byte code and pip."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    answer = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    place = Path(answer.stdout.strip())
    files = (
        path for path in place.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
        and path.relative_to(place).parts[0].partition("-")[0] not in ("pip", "setuptools")
    )  # fmt: skip
    return sum(path.stat().st_size for path in files) / 1e6


def seconds(pythons: dict[str, str], codes: dict[str, str], turns: int, folder: str
            ) -> dict[str, float]:  # fmt: skip
    """The median time of new processes, which take turns; a first run of each is not counted."""
    found: dict[str, list[float]] = {kind: [] for kind in codes}
    for _ in range(turns + 1):
        for kind, code in codes.items():
            began = time.perf_counter()
            subprocess.run([pythons[kind], "-c", code], check=True, cwd=folder)
            found[kind].append(time.perf_counter() - began)
    return {kind: median(times[1:]) for kind, times in found.items()}


if __name__ == "__main__":
    main()
