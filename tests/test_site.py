"""The documentation: navigation, reference, snippets and, slow, the built site."""

import html
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import typer
import yaml
from sklearn.datasets import load_iris
from typer.testing import CliRunner
from website import cheat_sheet, equations, gallery, reference, sessions

import deltaprop as dp
from deltaprop.cli.app import app

from .generated_code import FLAGS, require_gcc
from .test_pages import BUILT, DOCS, PAGES, ROOT


def navigation():
    """The paths in the nav of mkdocs.yml."""

    def leaves(entry):
        if isinstance(entry, str):
            yield entry
        else:
            for item in entry.values() if isinstance(entry, dict) else entry:
                yield from leaves(item)

    # The tag of the slugify function is not YAML's own.
    text = re.sub(r"!!python\S+ {.*}", "null", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    return list(leaves(yaml.safe_load(text)["nav"]))


# ---------------------------------------------------------------- navigation and reference


def test_every_page_is_in_the_navigation():
    pages = {str(path.relative_to(DOCS)) for path in PAGES if DOCS in path.parents} | BUILT
    assert sorted(pages - set(navigation())) == []
    assert sorted(set(navigation()) - pages) == []
    assert len(navigation()) == len(set(navigation()))


def test_the_reference_has_every_public_name_once():
    names = [name for section in reference.SECTIONS.values() for name in section.names]
    assert len(names) == len(set(names))
    assert set(dp.__all__) - set(names) == {"__version__"}  # which its first page names
    text = " ".join(reference.pages().values())
    assert "__version__" in text
    assert all(f"::: deltaprop.{reference.HOME.get(name, name)}\n" in text for name in names)


# ---------------------------------------------------------------- equations


def test_equations_are_set_and_wrong_ones_are_an_error():
    pytest.importorskip("py_mini_racer")
    page = equations.render_page(
        r'<p><span class="arithmatex">\(a &lt; 1\)</span></p><div class="arithmatex">\[X_l\]</div>'
    )
    assert page.count('class="katex"') == 2
    assert "&lt;" in page
    assert "arithmatex" not in page
    with pytest.raises(Exception, match="KaTeX parse error"):
        equations.render_page(r'<span class="arithmatex">\(\frac{1\)</span>')


# ---------------------------------------------------------------- sessions

SESSION = """>>> for i in [1, 2]:
...     print(i < 2)
True
False
>>> print("a", [3,
...             4])  # doctest: +ELLIPSIS
a ...
"""


def test_the_button_of_a_session_copies_what_can_be_pasted():
    assert sessions.mark(f"```python\n{SESSION}```").startswith("```pycon\n>>> for")
    assert "doctest" not in sessions.mark(SESSION)
    code = html.escape(SESSION).replace("print", '<span class="nb">print</span>')
    page = f'<div class="language-pycon highlight"><pre><code>{code}</code></pre></div>'
    (copied,) = re.findall(r'data-copy="([^"]*)"', sessions.render_page(page))
    command = [sys.executable, "-i", "-c", ""]
    done = subprocess.run(command, input=html.unescape(copied), capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False", "a", "[3,", "4]"]
    assert "Error" not in done.stderr


# ---------------------------------------------------------------- snippets


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def test_the_commands_of_the_tour_run(checkout):
    (commands,) = blocks((DOCS / "tour.md").read_text(encoding="utf-8"), "bash")
    for command in commands.splitlines():
        result = CliRunner().invoke(app, shlex.split(command)[1:])
        assert result.exit_code == 0, result.output
    assert len((checkout / "predictions.csv").read_text().splitlines()) == 345


PARSERS = typer.main.get_command(app).commands
MENTIONED = re.compile(rf"deltaprop ({'|'.join(PARSERS)})\\b([^`\n]*)")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_commands_have_the_options_that_pages_name(path):
    page = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for name, words in MENTIONED.findall(page):
        known = {option for parameter in PARSERS[name].params for option in parameter.opts}
        known |= {"--help", *(o for p in PARSERS[name].params for o in p.secondary_opts)}
        assert set(re.findall(r"(?<!\S)--?[a-z][\w-]*", words)) <= known, (name, words)
    for line in re.findall(r"^ {4}deltaprop (.*)$", page, re.MULTILINE):
        name, *words = shlex.split(line, comments=True)
        if name in PARSERS:  # raises an error for what the command cannot read
            PARSERS[name].make_context(name, words[: words.index(">") if ">" in words else None])


def test_the_request_of_the_guide_to_serving_gets_the_answer_that_it_shows(checkout, monkeypatch):
    page = (DOCS / "serving.md").read_text(encoding="utf-8")
    body, shown = re.findall(r"'(\{\"rows\".*?)'\n.*?^ {4}(\{\"pred.*?\})$", page, re.S | re.M)[0]
    serve_penguins(checkout, monkeypatch)
    import httpx

    headers = {"content-type": "application/json"}
    answer = httpx.post("/predict?proba=true", content=body, headers=headers).json()
    shown = json.loads(shown)
    assert answer.keys() == shown.keys()
    assert answer["predictions"][0].keys() == shown["predictions"][0].keys()


def test_the_program_of_the_guide_to_c_predicts(tmp_path):
    require_gcc()
    table = dp.tables.read_table(ROOT / "data" / "penguins.csv")
    model = dp.TabularClassifier((16,), cv=2, max_iter=10, random_state=0)
    model.fit(table.drop(columns="species"), table["species"])
    dp.to_c(model, tmp_path / "penguins.h")
    (program,) = blocks((DOCS / "light.md").read_text(encoding="utf-8"), "c")
    (tmp_path / "main.c").write_text(program)
    command = ["gcc", *FLAGS, "main.c", "-o", "main", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    row = {"bill_length_mm": 39.1, "body_mass_g": 3750, "island": "Torgersen"}
    rows = pd.DataFrame([row], columns=table.columns.drop("species"))
    label, probability = printed.split()
    assert label == model.predict(rows)[0]
    assert float(probability) == pytest.approx(model.predict_proba(rows)[0, 0], abs=1e-5)


def names_of_the_snippets():
    X, y = load_iris(return_X_y=True)
    X = X.astype("float32")
    layers = [dp.Dense(8, "tanh"), dp.Dense(3, "softmax")]
    net = dp.Network(4, layers, loss="cross_entropy", dtype="float32", seed=0)
    model = dp.MLPClassifier(max_iter=5, random_state=0).fit(X, y)
    return {
        "dp": dp, "np": np, "X": X, "y": y, "X_test": X[::5], "y_test": y[::5],
        "net": net, "model": model,
    }  # fmt: skip


SNIPPETS = [
    pytest.param(block, id=f"{path.stem}-{number}")
    for path in PAGES
    if path.name != "cluster.md"  # tests/test_cluster.py runs them
    for number, block in enumerate(blocks(path.read_text(encoding="utf-8"), "python"))
    if ">>>" not in block
]


@pytest.mark.parametrize("block", SNIPPETS)
def test_a_snippet_without_a_prompt_runs(block, checkout, monkeypatch):
    if "xla.connect" in block:
        pytest.skip("needs several processes: tests/test_xla.py starts them")
    if "mlflow" in block:
        pytest.skip("needs a registry of models: tests/test_mlflow.py starts one")
    if "xla" in block:
        pytest.importorskip("jax")
    if "inspect" in block or "report" in block:
        pytest.importorskip("matplotlib")
    monkeypatch.setattr("webbrowser.open", lambda *args, **options: True)
    monkeypatch.setattr(dp.Watch, "wait", lambda watch: None)
    names = names_of_the_snippets()
    if "httpx" in block:
        names["frame"] = serve_penguins(checkout, monkeypatch)
    exec(block, names)


def serve_penguins(folder, monkeypatch):
    """Let ``httpx.post`` ask a served model, without a socket; return some rows for it."""
    httpx = pytest.importorskip("httpx")
    testclient = pytest.importorskip("starlette.testclient")
    from deltaprop.serving import application

    table = dp.tables.read_table("data/penguins.csv")
    X, y = table.drop(columns="species"), table["species"]
    dp.save(dp.TabularClassifier(preset="fast", max_iter=3).fit(X, y), folder / "penguins.dp")
    client = testclient.TestClient(application(str(folder / "penguins.dp")), "http://127.0.0.1")
    monkeypatch.setattr(httpx, "post", client.post)
    return X[:5]


def test_there_are_snippets_to_run():
    assert len(SNIPPETS) >= 5


# ---------------------------------------------------------------- gallery and site

SCRIPTS = gallery.scripts(ROOT)


def test_the_gallery_has_pages_for_all_scripts(monkeypatch):
    monkeypatch.setenv("DELTAPROP_GALLERY", "off")
    pages = gallery.pages(ROOT)
    assert len(pages) == len(SCRIPTS) + 1 >= 13
    index = pages["gallery/index.md"]
    assert all(f'href="{script.stem}.html"' in index for script in SCRIPTS)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_of_the_gallery_runs(script, tmp_path):
    pytest.importorskip("matplotlib")
    command = [sys.executable, "-m", "website.gallery", str(script), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "output.txt").read_text().strip()
    assert list(tmp_path.glob("figure-*.svg"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; the build ends with an error if there is any warning."""
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_loads_nothing_from_elsewhere(site):
    for path in site.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        loaded = re.findall(
            r'<(?:script|link|img|iframe|source)[^>]*?(?:src|href)="(\w+:[^"]*)', page
        )
        assert [url for url in loaded if not url.startswith("data:")] == [], path
    for path in [*site.rglob("*.css")]:
        assert not re.search(r"url\(['\"]?https?:", path.read_text(encoding="utf-8")), path
    assert (site / "derivation.html").read_text(encoding="utf-8").count('class="katex"') > 100
    fonts = re.findall(r"url\((fonts/[^)]+)\)", (site / "assets/katex/katex.min.css").read_text())
    assert len(fonts) == 20
    assert all((site / "assets" / "katex" / font).exists() for font in fonts)
    pages = (site / "llms.txt").read_text(encoding="utf-8")
    assert all((site / url).exists() for url in re.findall(r"\]\(([^)]+\.html)\)", pages))
    assert "tour.html" in pages


@pytest.mark.slow
def test_the_site_has_every_public_name(site):
    ids = set()
    for path in (site / "reference").glob("*.html"):
        ids |= set(re.findall(r'id="(deltaprop[.\w]*)"', path.read_text(encoding="utf-8")))
    for name in set(dp.__all__) - {"__version__"}:
        assert f"deltaprop.{reference.HOME.get(name, name)}" in ids, name


@pytest.mark.slow
def test_the_python_of_the_cheat_sheet_runs(checkout, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("webbrowser.open", lambda *args, **options: True)
    names = {"dp": dp, "np": np}
    for box in cheat_sheet.BOXES:
        if box.language == "python":
            code = box.text.replace("data/*.csv", "data/penguins.csv")
            if 'engine="xla"' in code and importlib.util.find_spec("jax") is None:
                continue
            exec(code, names)
    assert names["net"].check(names["X"], names["y"]).ok


def test_the_drawn_cheat_sheet_is_that_of_the_program():
    drawn = (DOCS / "cheat-sheet.svg").read_text(encoding="utf-8")
    assert drawn == cheat_sheet.svg(), "run `python -m website.cheat_sheet`"
    assert (DOCS / "cheat-sheet.pdf").read_bytes().startswith(b"%PDF")
