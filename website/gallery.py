"""The gallery: the scripts of docs/gallery, executed, as pages with their output and their plots.

``python -m website.gallery SCRIPT FOLDER`` runs one script and writes ``output.txt`` and its
figures to the folder. A script is run again if it has changed; delete ``.cache`` to run all.
With ``DELTAPROP_GALLERY=off`` in the environment no script is run, for a quick look at other pages.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

INK = "#0b0c0d"  # the colour of text and axes, which becomes that of the page
STYLE = {
    "figure.figsize": (6.4, 4.2),
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": "cycler('color', ['#3b82c4', '#e8710a', '#2a9d6f', '#b0569c', '#8a8f98'])",
    "image.cmap": "PuOr_r",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "deltaprop",
}


class Example(NamedTuple):
    name: str
    title: str
    about: str
    code: str
    output: str
    figures: tuple[str, ...]


def _parts(script: Path) -> tuple[str, str, str]:
    """The title, the text below it, and the code without the docstring."""
    source = script.read_text(encoding="utf-8")
    docstring = ast.parse(source).body[0]
    title, _, about = (ast.get_docstring(ast.parse(source)) or "").partition("\n")
    code = "\n".join(source.splitlines()[docstring.end_lineno :]).strip()
    return title.rstrip("."), about.strip(), code


def _inline(svg: str, name: str) -> str:
    """An SVG of matplotlib as a part of a page: its ink has the colour of the page's text."""
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").replace("#000000", "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'(id="|url\(#|href="#)', rf"\g<1>{name}-", svg
    )  # unique among the page's pictures
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px; font-family: inherit", svg)
    return re.sub(r"\n\s*", "\n", svg)


def execute(script: Path, folder: Path) -> None:
    """Run a script in this process, and write what it prints and draws to the folder."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams.update(STYLE)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(script), run_name="__main__")
    folder.mkdir(parents=True, exist_ok=True)
    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        path = folder / f"figure-{number}.svg"
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    (folder / "output.txt").write_text(printed.getvalue(), encoding="utf-8")


def _executed(script: Path, cache: Path) -> tuple[str, tuple[str, ...]]:
    if os.environ.get("DELTAPROP_GALLERY") == "off":
        return "(not executed in this build)", ()
    digest = hashlib.blake2b(script.read_bytes() + Path(__file__).read_bytes(), digest_size=8)
    folder = cache / f"{script.stem}-{digest.hexdigest()}"
    if not (folder / "output.txt").exists():
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "website.gallery",
            str(script),
            str(folder),
        ]
        root = script.parent.parent.parent
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{script.name} failed:\n{done.stderr[-2000:]}")
    figures = sorted(folder.glob("figure-*.svg"))
    return (folder / "output.txt").read_text(encoding="utf-8"), tuple(
        _inline(path.read_text(encoding="utf-8"), f"{script.stem}-{number}")
        for number, path in enumerate(figures)
    )


def _page(example: Example) -> str:
    figures = "\n\n".join(f'<div class="figure">\n{svg}\n</div>' for svg in example.figures)
    output = f"```text\n{example.output.rstrip()}\n```" if example.output.strip() else ""
    code = f"```python\n{example.code}\n```"
    return f"# {example.title}\n\n{example.about}\n\n{figures}\n\n{code}\n\n{output}\n"


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.:])\s", text.replace("`", ""))[0]


def _index(examples: list[Example]) -> str:
    cards = [
        f'<a href="{example.name}.html"><div class="figure">{"".join(example.figures[:1])}</div>'
        f"<strong>{example.title}</strong>"
        f"<span>{_first_sentence(example.about)}</span></a>"
        for example in examples
    ]
    grid = "\n".join(cards)
    return (
        "# Gallery\n\nEach example is a short script on a real table. The plots and the "
        "printed lines come from running it when this site was built. The scripts are in "
        "`docs/gallery`; outside of a notebook, add `plt.show()` at the end of one.\n\n"
        f'<div class="gallery">\n{grid}\n</div>\n'
    )


def scripts(root: Path) -> list[Path]:
    return sorted((root / "docs" / "gallery").glob("*.py"))


def pages(root: Path) -> dict[str, str]:
    """The Markdown of each page, by its path; executes scripts that have changed."""
    cache, examples = root / ".cache" / "gallery", []
    for script in scripts(root):
        title, about, code = _parts(script)
        examples.append(Example(script.stem, title, about, code, *_executed(script, cache)))
    index = {"gallery/index.md": _index(examples)}
    return index | {f"gallery/{example.name}.md": _page(example) for example in examples}


if __name__ == "__main__":
    execute(Path(sys.argv[1]), Path(sys.argv[2]))
