"""The badges of the README: ``python -m website.badges`` writes docs/assets/badges/.

They say what files of this repository say, so that they are true in every clone, and need no other
host. A test draws them again.
"""

from __future__ import annotations

import tomllib
from html import escape
from pathlib import Path

import deltaprop

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "assets" / "badges"
HEIGHT, LETTER, MARGIN = 20, 6.2, 8  # pixels
DRAWN = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" \
aria-label="{left}: {right}">
<title>{left}: {right}</title>
<clipPath id="c"><rect width="{width}" height="{height}" rx="4"/></clipPath>
<g clip-path="url(#c)">
<rect width="{width}" height="{height}" fill="#4a4f57"/>
<rect x="{middle}" width="{width}" height="{height}" fill="#1f6f54"/>
</g>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{margin}" y="14" textLength="{left_length}">{left}</text>
<text x="{right_at}" y="14" textLength="{right_length}">{right}</text>
</g>
</svg>
"""


def badges() -> dict[str, str]:
    """The badges as SVG, by the names of their files."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = settings["project"]
    types = "mypy, strict" if settings["tool"]["mypy"]["strict"] else "mypy"
    return {
        "version.svg": drawn("version", deltaprop.__version__),
        "python.svg": drawn("Python", project["requires-python"].replace(">=", "≥ ")),
        "license.svg": drawn("license", project["license"]),
        "types.svg": drawn("types", types),
    }


def drawn(left: str, right: str) -> str:
    """One badge."""
    lengths = [round(LETTER * len(text)) for text in (left, right)]
    middle = lengths[0] + 2 * MARGIN
    return DRAWN.format(
        left=escape(left), right=escape(right), left_length=lengths[0], right_length=lengths[1],
        width=middle + lengths[1] + 2 * MARGIN, height=HEIGHT, middle=middle, margin=MARGIN,
        right_at=middle + MARGIN,
    )  # fmt: skip


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in badges().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
