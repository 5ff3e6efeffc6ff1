"""The cheat sheet: ``python -m website.cheat_sheet`` writes docs/cheat-sheet.svg and .pdf.

The tests run the Python of all boxes, one after another. The PDF needs Chromium and playwright.
"""

from __future__ import annotations

import re
import shutil
from html import escape
from pathlib import Path
from typing import NamedTuple

from deltaprop.functions import activations, losses
from deltaprop.optim import schedules, solvers

DOCS = Path(__file__).parent.parent / "docs"
WIDTH, HEIGHT, MARGIN, GAP = 1123, 794, 24, 12  # A4 in landscape, in pixels
COLUMNS, LINE, HEAD = 3, 14.6, 20


class Box(NamedTuple):
    title: str
    text: str
    language: str = "python"


def _names(names: tuple[str, ...], width: int = 52) -> str:
    """The names, filled into lines."""
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) > width:
            lines.append("")
        lines[-1] += f"{name} "
    return "\n".join(f"  {line.rstrip()}" for line in lines)


COLUMN_1 = [
    Box("Predict a class", '''
table = dp.tables.read_table("data/penguins.csv")
X, y = table.drop(columns="species"), table["species"]
model = dp.TabularClassifier(random_state=0).fit(X, y)
model.cv_score_                      # on rows not seen
model.predict_proba(X)               # calibrated
model.predict_set(X, coverage=0.95)  # plausible classes
dp.TabularClassifier(preset="fast")  # one network
dp.TabularClassifier(preset="best")  # 24 networks
dp.TabularClassifier(cost={"false_positive": 1,
                           "false_negative": 9})
'''),
    Box("Predict a number", '''
t = table.dropna(subset="body_mass_g")
X, y = t.drop(columns="body_mass_g"), t["body_mass_g"]
model = dp.TabularRegressor().fit(X, y)
model.predict_interval(X, coverage=0.9)    # (N, 2)
dp.TabularRegressor(loss="poisson")        # counts
ends = dp.losses.get("quantile", quantiles=(0.1, 0.9))
dp.TabularRegressor(loss=ends)             # quantiles
'''),
    Box("In place of scikit-learn's", '''
from sklearn.datasets import load_iris
X, y = load_iris(return_X_y=True)
model = dp.MLPClassifier(
    (64, 32), activation=["gelu", "tanh"], dropout=0.1,
    learning_rate="one_cycle", early_stopping=True,
    class_weight="balanced", max_iter=30).fit(X, y)
model.network_                       # a dp.Network
'''),
    Box("Any estimator", '''
model.score(X, y), model.get_params()
model.check(X, y)                    # its equations
model.diagnose(X, y), model.derivation()
'''),
    Box("Command line", '''
deltaprop look TABLE --target COLUMN
deltaprop train TABLE --target COLUMN -o model.dp
deltaprop predict model.dp TABLE -o out.csv --proba
deltaprop evaluate model.dp TABLE
deltaprop explain | check | info model.dp
deltaprop export | serve model.dp
''', "console"),
]  # fmt: skip
COLUMN_2 = [
    Box("A network", '''
net = dp.Network(
    4, [dp.Dense(16, "tanh"), dp.Dense(3, "softmax")],
    loss="cross_entropy", reduction="mean",
    l2=1e-3, seed=0)
net.W, net.b, net.theta              # views of θ
net.predict(X)                       # ŷ
net.loss(X, y), net.gradient(X, y).dW
'''),
    Box("Training", '''
history = dp.fit(
    net, X, y, solver=dp.AdamW(0.01), batch_size=64,
    schedule=dp.schedules.Cosine(), max_epochs=30,
    validation=0.2, patience=10,     # early stopping
    clip_norm=1.0, ema_decay=0.99,
    record=20,                       # layer statistics
    checkpoint="run/")               # resumes if killed
history.loss_curve, history.best_epoch
'''),
    Box("Looking inside", '''
t = net.trace(X, y)                  # one pass
t.X, t.a, t.delta, t.dW, t.db, t.loss
print(net.derivation())              # its equations
print(net.check(X, y))               # verify each
print(dp.diagnose(net, X, y, history))
dp.explore(net, X, y)                # in the browser
dp.report(model, X, y, "report.html")
'''),
    Box("Many models at once", '''
models = [dp.MLPClassifier(alpha=a, max_iter=20)
          for a in (1e-4, 1e-2, 1)]
dp.cross_validate(models, X, y, cv=5)  # (3, 5) scores
'''),
    Box("Files, size, privacy", '''
dp.save(model, "model.dp")           # no pickle
model = dp.load("model.dp")
rows = dp.tables.stream("data/*.csv", target="species",
                        memory="2GB")
dp.TabularClassifier(max_iter=5).fit(rows)
dp.Privacy.of(epsilon=3, delta=1e-4, epochs=40)
dp.fit(net, X, y, engine="xla")      # GPU, TPU, devices
'''),
]  # fmt: skip
COLUMN_3 = [
    Box("Symbols", '''
X_l      (N, D)   input of layer l; X_0 is the data
W_l b_l  (D, H)   weights; bias (H,)
a_l      (N, H)   before the activation f_l
ŷ        (N, H)   output, the X of the last layer + 1
δ_l      (N, H)   ∂L/∂a_l, the error signal
''', "text"),
    Box("Equations", '''
a_l = X_l W_l + b_l         X_l+1 = f_l(a_l)
L = Σ_n loss(y, ŷ) + λ/2 Σ_l ‖W_l‖²
δ_last = loss′(y, ŷ) ⊙ f′(a)     softmax: ŷ − y
δ_l = f′(a_l) ⊙ (δ_l+1 W_l+1ᵀ)
∂L/∂W_l = X_lᵀ δ_l + λ W_l       ∂L/∂b_l = Σ_n δ_l
''', "text"),
    Box("Names", f'''
activations
{_names(activations.NAMES)}
losses
{_names(losses.NAMES)}
solvers
{_names(solvers.NAMES)} dp.KFAC()
schedules
{_names(schedules.NAMES)}
''', "text"),
    Box("Your own parts", '''
sine = dp.Activation("sine",
    f=lambda a, xp: xp.sin(a),
    df=lambda a, z, xp: xp.cos(a))
quartic = dp.Loss("quartic",
    value=lambda t, yhat, xp: (yhat - t) ** 4,
    d=lambda t, yhat, xp: 4 * (yhat - t) ** 3)
net = dp.Network(4, [dp.Dense(8, sine), dp.Dense(1)],
                 loss=quartic)
net.check(X, y)              # verifies f′ and loss′
'''),
]  # fmt: skip
BOXES = [*COLUMN_1, *COLUMN_2, *COLUMN_3]

STYLE = """
  .mono { font: 9.85px "DejaVu Sans Mono", Menlo, Consolas, monospace;
    fill: #1c2733; white-space: pre; }
  .box { fill: #f5f8fb; stroke: #c9d6e2; }
  .note { fill: #8a5a00; }
  .name { font: bold 10.5px system-ui, Roboto, "DejaVu Sans", sans-serif; fill: #fff; }
  .title { font: bold 21px system-ui, Roboto, "DejaVu Sans", sans-serif; fill: #1d4e79; }
  .sub { font: 11px system-ui, Roboto, "DejaVu Sans", sans-serif; fill: #4a5866; }
"""


def _line(line: str, x: float, y: float) -> str:
    code, mark, note = line.partition("  # ")
    text = escape(code) + (f'<tspan class="note">{escape(mark + note)}</tspan>' if mark else "")
    return f'<text class="mono" xml:space="preserve" x="{x:.1f}" y="{y:.1f}">{text}</text>'


def _box(box: Box, x: float, y: float, width: float) -> tuple[str, float]:
    """A box as SVG, and its height."""
    lines = box.text.strip("\n").splitlines()
    height = HEAD + LINE * len(lines) + 9
    corner = HEAD - 5
    head = f"M{x} {y + HEAD}v-{corner}q0-5 5-5h{width - 10}q5 0 5 5v{corner}z"
    parts = [
        f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>',
        f'<path d="{head}" fill="#1d4e79"/>',
        f'<text class="name" x="{x + 8}" y="{y + 14}">{escape(box.title)}</text>',
        *(_line(each, x + 8, y + HEAD + 13 + LINE * i) for i, each in enumerate(lines)),
    ]
    return "\n".join(parts), height


def svg() -> str:
    width = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
    parts = []
    for number, column in enumerate((COLUMN_1, COLUMN_2, COLUMN_3)):
        x, y = MARGIN + number * (width + GAP), 58.0
        for box in column:
            part, height = _box(box, round(x, 1), round(y, 1), round(width, 1))
            parts.append(part)
            y += height + GAP
        if y - GAP > HEIGHT - 10:
            raise ValueError(f"Column {number + 1} is {y - GAP:.0f} px high, of {HEIGHT - 10}.")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n'
        f"<title>deltaprop on one page</title>\n<style>{STYLE}</style>\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n'
        f'<text class="title" x="{MARGIN}" y="40">deltaprop</text>\n'
        f'<text class="sub" x="{MARGIN + 128}" y="40">import deltaprop as dp</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def pdf(drawing: str, path: Path) -> None:
    from playwright.sync_api import sync_playwright

    page_style = "@page { size: A4 landscape; margin: 0 } body { margin: 0 } svg { display: block }"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        tab = browser.new_page()
        tab.set_content(f"<style>{page_style}</style>{drawing}")
        tab.pdf(path=path, prefer_css_page_size=True, print_background=True, page_ranges="1")
        browser.close()


if __name__ == "__main__":
    drawing = svg()
    (DOCS / "cheat-sheet.svg").write_text(drawing, encoding="utf-8")
    pdf(
        re.sub(r"<svg ", '<svg width="297mm" height="209mm" ', drawing, count=1),
        DOCS / "cheat-sheet.pdf",
    )
