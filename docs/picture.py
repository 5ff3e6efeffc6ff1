"""Draw docs/train.svg, the picture of the tour: what `deltaprop train` prints."""

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

root = Path(__file__).resolve().parent.parent
options = ["data/diamonds.csv.gz", "--target", "price", "--preset", "fast"]
command = ["train", *options, "-o", "/dev/shm/model.dp"]
printed = subprocess.run(
    [sys.executable, "-m", "deltaprop.cli", *command],
    capture_output=True, text=True, check=True, cwd=root,
).stdout.replace("/dev/shm/", "")  # fmt: skip
console = Console(record=True, width=80, file=io.StringIO())
console.print(
    Text("$ deltaprop train data/diamonds.csv.gz --target price --preset fast", style="bold")
)
console.print(Text(printed.rstrip()))
svg = console.export_svg(title="deltaprop")
svg = re.sub(r"@font-face {.*?}", "", svg, flags=re.DOTALL)  # no fonts from elsewhere
(root / "docs" / "train.svg").write_text(svg)
