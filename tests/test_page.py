"""The interactive page, in a browser and over HTTP."""

import http.client
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deltaprop as dp
from deltaprop.explain.entry import short
from deltaprop.files import ModelFileError

from . import interpreter
from .browser import chromium
from .terminal import read_until

FEATURES = ["sepal length", "sepal width", "petal length", "petal width"]
IRIS = load_iris()
X, Y = IRIS.data, IRIS.target


def small_network(**options):
    layers = [dp.Dense(5, "tanh"), dp.Dense(3, "softmax")]
    return dp.Network(4, layers, loss="cross_entropy", l2=1e-3, seed=0, **options)


@pytest.fixture
def page():
    net = small_network()
    with net.explore(
        X, Y, feature_names=FEATURES, target_names=IRIS.target_names, open_browser=False
    ) as page:
        page.net = net
        yield page


# ---------------------------------------------------------------- over HTTP


def ask(url, path="", body=None, host=None, method=None):
    """Send one request; return the status, headers and parsed body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=10)
    content = None if body is None else body if isinstance(body, str) else json.dumps(body)
    headers = {"Host": host or parts.netloc}
    verb = method or ("GET" if body is None else "POST")
    connection.request(verb, parts.path + path, content, headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    try:
        return response.status, response.headers, json.loads(text)
    except ValueError:
        return response.status, response.headers, text


def trace(page, **request):
    status, _, answer = ask(page.url, "api/trace", request)
    assert status == 200, answer
    return answer


def matrix(answer, key):
    return np.array(answer["matrices"][key]["values"], dtype=float)


@pytest.mark.parametrize("path", ["", "app.js", "api/network", "nothing"])
def test_a_request_without_the_right_token_is_rejected(page, path):
    parts = urlsplit(page.url)
    root = f"http://{parts.netloc}/"
    for url in (root, root + "x" * 32 + "/", page.url[:-2] + "/"):
        assert ask(url, path)[0] == 403
        assert ask(url, path, body={})[0] == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example:80"])
def test_a_request_for_another_host_is_rejected(page, host):
    assert ask(page.url, host=host)[0] == 403
    assert ask(page.url, "api/trace", body={}, host=host)[0] == 403
    assert ask(page.url, host=f"localhost:{urlsplit(page.url).port}")[0] == 200


def test_only_this_machine_can_connect(page):
    assert page._server.server_address[0] == "127.0.0.1"


def test_responses_forbid_other_sources(page):
    for path in ("", "app.js", "api/network", "nothing"):
        _, headers, _ = ask(page.url, path)
        assert headers["Content-Security-Policy"].startswith("default-src 'self'")
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["nothing", "../server.py", "..%2fserver.py", "static/app.js", "__init__.py"]
)
def test_other_files_are_not_served(page, path):
    assert ask(page.url, path)[0] == 404


def test_bad_requests_get_a_message_and_do_not_stop_the_server(page):
    for body, words in [
        ({"step": "c_0"}, "step must be one of"),
        ({"first": 150}, "from 0 to 149"),
        ({"count": 0}, "from 1 to"),
        ({"inputs": [[0, 0, "wide"]]}, "sepal length must be a number"),
        ({"inputs": [[0, 9, 1.0]]}, "out of range"),
        ({"W": [[0, 0, 0, "heavy"]]}, "W_0 must hold finite numbers"),
        ({"W": [[0, 9, 0, 1.0]]}, "out of bounds"),
        ("[1]", "JSON object"),
        ("{", "JSON object"),
    ]:
        status, _, answer = ask(page.url, "api/trace", body)
        assert status == 400, body
        assert words in answer["error"]
    assert ask(page.url, "api/trace", "x", method="POST")[0] == 400
    assert trace(page)["step"] == "a_0"


def test_every_step_matches_net_trace(page):
    net, rows = page.net, slice(7, 12)
    before, x = net.theta.copy(), X[rows].copy()
    x[1, 2] = 3.25
    twin = net.copy()
    twin.W[0][2, 4] = -1.5
    twin.b[1][0] = 0.75
    y = Y[rows].copy()
    y[0] = 2
    expected = twin.trace(x, y)
    edits = {"W": [[0, 2, 4, -1.5]], "b": [[1, 0, 0.75]]}
    edits |= {"inputs": [[8, 2, 3.25], [20, 0, 9.0]], "targets": [[7, 0, 2]]}
    for l in range(2):
        for name in ("a", "delta", "dW", "db"):
            answer = trace(page, step=f"{name}_{l}", first=7, count=5, **edits)
            found = matrix(answer, f"{name}_{l}")
            np.testing.assert_array_equal(found, np.atleast_2d(getattr(expected, name)[l]))
            assert answer["loss"] == expected.loss
        answer = trace(page, step=f"X_{l + 1}", first=7, count=5, **edits)
        np.testing.assert_array_equal(matrix(answer, f"X_{l + 1}"), expected.X[l + 1])
    assert (net.theta == before).all()  # the network itself is not edited


@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("reduction", ["sum", "mean", "sklearn"])
@pytest.mark.parametrize(
    ("f", "loss", "y"),
    [
        ("softmax", "cross_entropy", [0, 2, 1]),
        ("softmax", "focal", [0, 2, 1]),
        ("logistic", "binary_cross_entropy", [[0, 1, 0], [1, 0, 0], [0, 0, 1]]),
        ("softplus", "squared_error", np.ones((3, 3))),
        ("exp", "gamma", np.ones((3, 3))),
    ],
)
def test_the_operands_of_each_equation_give_its_result(f, loss, y, reduction, vectors):
    """The formula that the page prints, computed from the matrices below it, gives its result."""
    more = {"input_scale": vectors, "trainable_activation": vectors}
    layers = [dp.Dense(4, "softmax", **more), dp.Dense(4, "gelu", **more), dp.Dense(3, f)]
    net = dp.Network(2, layers, loss=loss, l2=0.1, reduction=reduction, seed=1)
    rows = np.random.RandomState(0).randn(3, 2)
    with net.explore(rows, np.asarray(y), open_browser=False) as page:
        for step in ask(page.url, "api/network")[2]["steps"]:
            answer = trace(page, step=step["key"], count=3)
            right = interpreter.from_math(step["formula"]).split("=")[-1]
            operands = {"π": np.asarray(np.pi)}
            for key in step["operands"]:
                value = matrix(answer, key)
                name = interpreter.from_math(answer["matrices"][key]["symbol"])
                operands[name] = value.reshape(()) if name in ("λ", "N", "γ") else value
            found = np.atleast_2d(interpreter.Reader(right, operands).whole())
            np.testing.assert_allclose(matrix(answer, step["key"]), found, rtol=1e-9, atol=1e-12)


def test_any_entry_can_be_written_out(page):
    """The line contains the numbers of the operands, and the marks are their rows and columns."""
    answer = trace(page, step="dW_1", first=3, count=2, entry=[4, 2])
    X, delta, W = (matrix(answer, key) for key in ("X_1", "delta_1", "W_1"))
    text = (
        f"{bracketed(X[0, 4])} · {bracketed(delta[0, 2])} + {bracketed(X[1, 4])} · "
        f"{bracketed(delta[1, 2])} + 0.001 · {bracketed(W[4, 2])} = "
        f"{short(matrix(answer, 'dW_1')[4, 2])}"
    )
    assert answer["worked"]["text"] == text
    marks = {"X_1": {"column": 4}, "delta_1": {"column": 2}, "W_1": {"row": 4, "column": 2}}
    assert answer["worked"]["marks"] == marks | {"lambda": {"row": 0, "column": 0}}
    status, _, again = ask(
        page.url, "api/worked", {"step": "dW_1", "first": 3, "count": 2, "entry": [4, 2]}
    )
    assert (status, again) == (200, answer["worked"])


def bracketed(value):
    return f"({short(value)})" if value < 0 else short(value)


def test_a_custom_function_that_is_known_by_name_only():
    """Its formula cannot be evaluated, but the numbers are those of the network."""
    named = dp.Activation(
        "named",
        lambda a, xp: np.asarray(a, dtype=float) * 2,
        lambda a, z, xp: np.full(a.shape, 2.0),
    )
    rows = dp.Activation(
        "rows",
        lambda a, xp: np.asarray(a, dtype=float) - np.mean(np.asarray(a), axis=1, keepdims=True),
        lambda a, z, xp: np.eye(a.shape[1])[None] - np.ones((len(a), 1, 1)) / a.shape[1],
        coupling="row",
        vjp=lambda a, z, g, xp: np.asarray(g, dtype=float) - np.mean(g, axis=1, keepdims=True),
    )
    net = dp.Network(2, [dp.Dense(3, named), dp.Dense(2, rows)], loss="squared_error", seed=0)
    x, y = [[0.5, -1.0]], [[1.0, 2.0]]
    with net.explore(x, y, open_browser=False) as page:
        t = net.trace(x, y)
        for step in ask(page.url, "api/network")[2]["steps"]:
            trace(page, step=step["key"])
        answer = trace(page, step="X_1", entry=[0, 1])
        assert answer["worked"]["text"] == f"named({short(t.a[0][0, 1])}) = {short(t.X[1][0, 1])}"
        answer = trace(page, step="X_2", entry=[0, 1])
        inside = ", ".join(short(value) for value in t.a[1][0])
        assert answer["worked"]["text"] == f"rows({inside})₁ = {short(t.X[2][0, 1])}"


def test_non_finite_numbers_are_sent_as_strings():
    net = dp.Network(1, [dp.Dense(1, "exp"), dp.Dense(1)], loss="squared_error", seed=0)
    with net.explore([[1.0]], [0.0], open_browser=False) as page:
        answer = trace(page, step="X_1", W=[[0, 0, 0, 1e6]])
        assert answer["matrices"]["X_1"]["values"] == [["Infinity"]]


def test_a_large_layer_is_sent_in_part():
    net = dp.Network(3, [dp.Dense(700), dp.Dense(600), dp.Dense(1)], loss="squared_error", seed=0)
    with net.explore([[1.0, 2.0, 3.0]], [0.0], open_browser=False) as page:
        sent = trace(page, step="dW_1")["matrices"]["dW_1"]
        assert sent["shape"] == [700, 600]
        assert np.shape(sent["values"]) == (512, 512)


def test_a_table_goes_through_its_encoder():
    table = dp.tables.read_table("data/penguins.csv")
    frame, y = table.drop(columns="species"), table["species"]
    model = dp.TabularClassifier((8,), cv=1, random_state=0, max_iter=3).fit(frame, y)
    with dp.explore(model, frame, y, open_browser=False) as page:
        network = ask(page.url, "api/network")[2]
        names = [column["name"] for column in network["columns"]]
        assert network["columns"][names.index("island")]["choices"] == [
            "Biscoe", "Dream", "Torgersen"
        ]  # fmt: skip
        edits = [[3, names.index("island"), "Dream"], [3, names.index("bill_length_mm"), 45.5],
                 [3, names.index("sex"), None]]  # fmt: skip
        answer = trace(page, first=3, inputs=edits)
    row = frame.iloc[[3]].copy()
    row["island"], row["bill_length_mm"], row["sex"] = "Dream", 45.5, None
    np.testing.assert_array_equal(matrix(answer, "X_0"), model.encoder_.transform(row))
    assert answer["prediction"] == model.predict(row)[0]
    np.testing.assert_allclose(answer["yhat"], model.predict_proba(row)[0], rtol=1e-6)
    assert answer["matrices"]["X_0"]["edits"] is None  # its entries are computed from the row


def test_labels_and_predictions_of_every_kind_of_model():
    table = dp.tables.read_table("data/penguins.csv").dropna()
    frame, mass = table.drop(columns="body_mass_g"), table["body_mass_g"]
    words = np.array(["no", "yes"])
    labels = np.column_stack([Y == 0, Y == 2]).astype(int)
    short = {"max_iter": 2, "random_state": 0}
    for model, data, y, said in [
        (dp.TabularRegressor((4,), cv=1, **short), frame, mass, None),
        (dp.MLPClassifier((4,), **short), X, IRIS.target_names[Y], None),
        (dp.MLPClassifier((4,), **short), X, words[(Y > 0).astype(int)], None),
        (dp.MLPClassifier((4,), **short), pd.DataFrame(X, columns=FEATURES), labels, False),
        (dp.MLPRegressor(hidden_layer_sizes=(4,), **short), X[:, :3], X[:, 3], None),
        (dp.MLPRegressor(hidden_layer_sizes=(4,), **short), X[:, :2], X[:, 2:], None),
    ]:
        model.fit(data, y)
        with dp.explore(model, data, y, open_browser=False) as page:
            network, answer = ask(page.url, "api/network")[2], trace(page, first=1)
        assert len(network["outputs"]) == len(answer["yhat"])
        if said is False:
            assert answer["prediction"] is None
            continue
        expected = np.ravel(model.predict(data[1:2]))
        if np.issubdtype(expected.dtype, np.number):
            expected = ", ".join(f"{value:.6g}" for value in expected)
        else:
            expected = expected[0]
        assert answer["prediction"] == expected


def test_a_pipeline_and_a_file_open_as_well(tmp_path):
    frame, labels = pd.DataFrame(X, columns=FEATURES), IRIS.target_names[Y]
    mlp = dp.MLPClassifier((4,), max_iter=2, random_state=0)
    pipe = make_pipeline(StandardScaler(), mlp).fit(frame, labels)
    with dp.explore(pipe, frame, labels, open_browser=False) as page:
        assert [c["name"] for c in ask(page.url, "api/network")[2]["columns"]] == FEATURES
        answer = trace(page, first=7, inputs=[[7, 2, 3.25]])
    row = frame.iloc[[7]].copy()
    row["petal length"] = 3.25
    np.testing.assert_array_equal(matrix(answer, "X_0"), pipe[0].transform(row))
    assert answer["prediction"] == pipe.predict(row)[0]
    with dp.explore(pipe.fit(X, labels), X, labels, open_browser=False) as page:
        np.testing.assert_array_equal(matrix(trace(page), "X_0"), pipe[0].transform(X[:1]))
    dp.save(mlp, tmp_path / "model.dp")
    with dp.explore(tmp_path / "model.dp", X, labels, open_browser=False) as page:
        np.testing.assert_array_equal(matrix(trace(page), "X_0"), X[:1])


def test_rows_of_a_sparse_matrix():
    import scipy.sparse

    net = small_network()
    with net.explore(scipy.sparse.csc_matrix(X), Y, open_browser=False) as page:
        np.testing.assert_array_equal(matrix(trace(page, first=5), "X_0"), X[5:6])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"model": 5}, TypeError, "model must be a deltaprop.Network, a fitted"),
        ({"model": dp.MLPClassifier()}, NotFittedError, "not fitted"),
        ({"model": "net.dp"}, ModelFileError, "net.dp"),
        ({"X": X[:, :3]}, ValueError, "network expects 4"),
        ({"X": X[:7]}, ValueError, "7 row.*150"),
        ({"y": Y + 1}, ValueError, "class indices"),
        ({"feature_names": ["a"]}, ValueError, "feature_names must name the 4"),
        ({"target_names": ["a"]}, ValueError, "target_names must name the 3"),
        ({"feature_names": 4}, TypeError, "feature_names must be a sequence"),
        ({"port": 1 << 20}, ValueError, "port=0 uses a free port"),
    ],
)
def test_bad_arguments_are_named(change, error, words):
    model = change.pop("model", small_network())
    arguments = {"X": X, "y": Y} | change
    with pytest.raises(error, match=words):
        dp.explore(model, arguments.pop("X"), arguments.pop("y"), open_browser=False, **arguments)


def test_labels_that_the_model_does_not_know_are_named():
    model = dp.MLPClassifier((4,), max_iter=2).fit(X, IRIS.target_names[Y])
    with pytest.raises(ValueError, match="does not know: rosa"):
        dp.explore(model, X[:1], ["rosa"], open_browser=False)


def test_a_closed_page_is_not_served():
    page = small_network().explore(X, Y, open_browser=False)
    page.close()
    page.close()
    with pytest.raises(ConnectionRefusedError):
        ask(page.url)


def test_the_page_loads_only_its_own_files():
    from importlib.resources import files

    static = files("deltaprop.page") / "static"
    loaded = set()
    for file in static.iterdir():
        text = file.read_text(encoding="utf-8")
        loaded |= set(re.findall(r"(?:from |import )\"\./([\w.]+)\"", text))
        loaded |= set(re.findall(r"(?:href|src)=\"([\w.]+)\"", text))
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), file.name
    assert loaded <= {file.name for file in static.iterdir()}
    assert "matrix.js" in loaded


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser():
    size = {"width": 1280, "height": 900}
    with tempfile.TemporaryDirectory() as profile, chromium(profile, viewport=size) as context:
        yield context


@pytest.fixture
def tab(browser):
    """A tab that must log no error and send requests to 127.0.0.1 only."""
    tab = browser.new_page()
    problems, requests = [], []
    tab.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.set_default_timeout(10_000)
    tab.problems = problems
    yield tab
    tab.close()
    assert problems == []
    assert {urlsplit(url).hostname for url in requests} == {"127.0.0.1"}


def go_to(tab, page, step="a_0"):
    if not tab.url.startswith(page.url):
        tab.goto(page.url)
        tab.wait_for_selector("body[data-step]")
    tab.click(f'dp-steps button[data-key="{step}"]')
    at_step(tab, step)


def at_step(tab, step):
    tab.wait_for_selector(f'body[data-step="{step}"]')
    assert tab.get_attribute("dp-steps button[aria-current=step]", "data-key") == step


def shown(tab, key):
    """Return the numbers that a matrix shows."""
    rows = tab.locator(f'dp-matrix[data-key="{key}"] tbody tr')
    return np.array([
        [as_number(cell) for cell in row.locator("td").all_inner_texts()] for row in rows.all()
    ])  # fmt: skip


def as_number(text):
    return float(text.replace("−", "-").replace("∞", "inf"))


def assert_shown(tab, key, expected):
    """Assert that a matrix shows `expected` to three digits (two in 1.2e−5)."""
    found, expected = shown(tab, key), np.atleast_2d(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0.051, atol=0)
    plain = (np.abs(expected) >= 1e-3) & (np.abs(expected) < 1e4)
    np.testing.assert_allclose(found[plain], expected[plain], rtol=0.0051, atol=0)


def readout(tab, key):
    text = tab.inner_text(f'dp-matrix[data-key="{key}"] .readout span')
    return as_number(text.rpartition(": ")[2])


def steps_of(page):
    return [step["key"] for step in ask(page.url, "api/network")[2]["steps"]]


def test_stepping_forward_and_back_shows_the_numbers_of_net_trace(page, tab):
    expected = page.net.trace(X[:1], Y[:1])
    keys = steps_of(page)
    tab.goto(page.url)
    for i, key in enumerate(keys):
        at_step(tab, key)
        name, _, l = key.partition("_")
        if name != "loss":
            value = getattr(expected, name)[int(l)]
            assert_shown(tab, key, value)
            assert readout(tab, key) == np.atleast_2d(value)[0, 0]  # all digits
        assert tab.inner_text("#where") == f"{i + 1} of {len(keys)}"
        if i + 1 < len(keys):
            tab.click("#next" if i % 2 else "nav >> text=Next")
    assert tab.is_disabled("#next")
    for key in reversed(keys[:-1]):
        tab.click("#back")
        at_step(tab, key)
    assert tab.is_disabled("#back")
    assert as_number(tab.inner_text("#loss").removeprefix("L = ")) == pytest.approx(
        expected.loss, rel=5e-3
    )


def test_the_way_to_an_equation_unfolds_line_by_line(page, tab):
    ways = {step["key"]: step["way"] for step in ask(page.url, "api/network")[2]["steps"]}
    assert {key for key, way in ways.items() if way} == {
        f"{name}_{l}" for name in ("delta", "dW", "db") for l in range(2)
    }
    assert any("Chain rule: " in line["rule"] for line in ways["dW_1"])
    assert ways["delta_1"][-1]["rule"] == "Each row of y sums to 1."
    go_to(tab, page, "delta_1")
    tab.locator(".way summary").click()
    assert tab.locator(".way li").count() == len(ways["delta_1"])
    assert "Quotient rule" in tab.locator(".way").inner_text()
    assert tab.locator(".way sub").count() > 0


def test_stepping_by_keyboard(page, tab):
    keys = steps_of(page)
    tab.goto(page.url)
    at_step(tab, keys[0])
    for key in keys[1:4]:
        tab.keyboard.press("ArrowRight")
        at_step(tab, key)
    tab.keyboard.press("ArrowLeft")
    at_step(tab, keys[2])
    tab.keyboard.press("End")
    at_step(tab, keys[-1])
    tab.keyboard.press("Home")
    at_step(tab, keys[0])


def test_tab_reaches_every_control_and_the_focus_can_be_seen(page, tab):
    go_to(tab, page, "dW_0")
    tab.evaluate("document.activeElement.blur()")
    wanted = tab.evaluate(
        """() => [...document.querySelectorAll("button, input, select, summary, td[tabindex='0']")]
        .filter((e) => !e.disabled && e.offsetParent).length"""
    )
    visited = tab.evaluate("window.visited = new Set(), window.unseen = [], 0")
    for _ in range(wanted + 20):
        tab.keyboard.press("Tab")
        visited = tab.evaluate("""() => {
            const e = document.activeElement;
            if (e.matches("button, input, select, summary, td")) {
              window.visited.add(e);
              if (getComputedStyle(e).outlineStyle === "none") window.unseen.push(e.outerHTML);
            }
            return window.visited.size;
        }""")
    assert visited == wanted
    assert tab.evaluate("window.unseen") == []


def test_controls_have_names(page, tab):
    go_to(tab, page, "dW_0")
    nameless = tab.evaluate(
        """() => [...document.querySelectorAll("button, input, select, [role=grid], [role=img]")]
        .filter((e) => !(e.ariaLabel || e.labels?.[0]?.textContent || e.textContent).trim())
        .map((e) => e.outerHTML)"""
    )
    assert nameless == []


def test_edits_show_the_trace_of_the_edited_network(page, tab):
    twin, x = page.net.copy(), X[:1].copy()
    go_to(tab, page, "a_0")
    # A weight by keyboard: two rows down, one to the right, Enter, a number, Enter.
    tab.focus('dp-matrix[data-key="W_0"] td[tabindex="0"]')
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
        tab.keyboard.press(key)
    tab.keyboard.type("-2.5")
    tab.keyboard.press("Enter")
    twin.W[0][2, 1] = -2.5
    tab.wait_for_selector('dp-matrix[data-key="W_0"] td.edited')
    assert_shown(tab, "W_0", twin.W[0])
    assert_shown(tab, "a_0", twin.trace(x, Y[:1]).a[0])
    # An input in the form of the row.
    tab.fill("dp-row .fields >> nth=0 >> input >> nth=3", "1.75")
    tab.keyboard.press("Enter")
    x[0, 3] = 1.75
    tab.wait_for_selector('dp-matrix[data-key="X_0"] td.edited')
    expected = twin.trace(x, Y[:1])
    assert_shown(tab, "X_0", x)
    assert_shown(tab, "a_0", expected.a[0])
    # Another target.
    tab.select_option("dp-row select", "virginica")
    tab.wait_for_selector("dp-row label.edited select")
    expected = twin.trace(x, [2])
    for key in ("delta_0", "dW_0", "db_0", "dW_1"):
        name, l = key.split("_")
        go_to(tab, page, key)
        assert_shown(tab, key, getattr(expected, name)[int(l)])
        assert readout(tab, key) == np.atleast_2d(getattr(expected, name)[int(l)])[0, 0]
    # Undo.
    tab.click("dp-row .undo")
    tab.wait_for_selector("dp-row .undo", state="hidden")
    assert_shown(tab, "dW_1", page.net.trace(X[:1], Y[:1]).dW[1])


def test_a_rejected_edit_shows_the_error_and_is_undone(page, tab):
    go_to(tab, page, "a_0")
    field = "dp-row .fields >> nth=0 >> input >> nth=0"
    tab.fill(field, "")
    tab.keyboard.press("Tab")
    tab.wait_for_selector("#message >> text=sepal length must be a number")
    assert tab.input_value(field) == "5.1"
    tab.click("#next")
    at_step(tab, "X_1")
    assert_shown(tab, "X_1", page.net.trace(X[:1], Y[:1]).X[1])
    assert tab.is_hidden("#message")
    assert "400" in tab.problems.pop()  # the browser logs this response


def test_other_rows_and_several_at_once(page, tab):
    go_to(tab, page, "dW_0")
    tab.fill("#row", "57")
    tab.fill("#count", "4")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("dp-matrix[data-key=delta_0] >> text=row 60")
    expected = page.net.trace(X[57:61], Y[57:61])
    assert_shown(tab, "delta_0", expected.delta[0])
    assert_shown(tab, "dW_0", expected.dW[0])
    assert "= " in tab.inner_text(".worked")
    tab.click("dp-row [aria-label='Next row']")
    tab.wait_for_selector("dp-matrix[data-key=X_0] >> text=row 58")
    assert_shown(tab, "X_0", X[58:62])


def test_the_worked_line_follows_the_selected_entry(page, tab):
    go_to(tab, page, "a_0")
    tab.click('dp-matrix[data-key="a_0"] tbody td >> nth=3')
    tab.wait_for_function(
        """() => document.querySelectorAll('dp-matrix[data-key="b_0"] td')[4].matches(".marked")"""
    )
    net, a = page.net, page.net.trace(X[:1], Y[:1]).a[0][0, 3]
    line = tab.inner_text(".worked")
    left, _, right = line.rpartition(" = ")
    assert as_number(right) == pytest.approx(a, rel=5e-3)
    terms = [term.replace("(", "").replace(")", "") for term in left.split(" + ")]
    assert len(terms) == 5
    for d, term in enumerate(terms[:4]):
        x, w = map(as_number, term.split(" · "))
        assert (x, w) == (pytest.approx(X[0, d]), pytest.approx(net.W[0][d, 3], rel=5e-3))
    assert tab.locator('dp-matrix[data-key="W_0"] td.marked').count() == 4
    assert tab.locator('dp-matrix[data-key="b_0"] td.marked').count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_has_enough_contrast(page, tab, scheme):
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size({"width": 390, "height": 844})
    for step in ("a_0", "delta_0", "dW_0", "loss"):
        go_to(tab, page, step)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.evaluate(CONTRAST) >= 4.5
    tab.set_viewport_size({"width": 320, "height": 640})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 320


CONTRAST = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (c) => {
    const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    const [r, g, b] = c.map((v) => linear(v / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const hasText = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  const worst = [...document.querySelectorAll("body *")]
    .filter((e) => e.offsetParent && !e.disabled && hasText(e))
    .map((e) => {
      const [a, b] = [light(parse(getComputedStyle(e).color).slice(0, 3)), light(ground(e))];
      return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    });
  return Math.min(...worst);
}"""


def test_a_large_matrix_is_painted_and_can_still_be_read_and_edited(tab):
    net = dp.Network(60, [dp.Dense(80, "relu"), dp.Dense(1)], loss="squared_error", seed=0)
    rows = np.random.RandomState(0).randn(2, 60)
    with net.explore(rows, [0.0, 1.0], open_browser=False) as page:
        go_to(tab, page, "a_0")
        W = 'dp-matrix[data-key="W_0"]'
        tab.focus(f"{W} .picture")
        for key in ("ArrowDown", "ArrowRight", "ArrowRight", "Enter"):
            tab.keyboard.press(key)
        assert float(tab.input_value(f"{W} input")) == net.W[0][1, 2]
        tab.keyboard.type("3")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("dp-row .undo:not([hidden])")
        twin = net.copy()
        twin.W[0][1, 2] = 3.0
        assert_shown(tab, "a_0", twin.trace(rows[:1], [0.0]).a[0])
        blue = tab.evaluate(
            """() => [...document.querySelector('dp-matrix[data-key="W_0"] canvas')
            .getContext("2d").getImageData(2, 1, 1, 1).data]"""
        )
        assert blue == [8, 81, 156, 255]  # it is now the largest entry, and positive


# ---------------------------------------------------------------- during training


def test_training_is_followed_live(tab):
    net = small_network()
    with dp.Watch(net, X, Y, open_browser=False) as watch:
        tab.goto(watch.url)
        tab.wait_for_selector("body[data-step]")
        assert "Waiting" in tab.inner_text("dp-training .status")
        seen, went_on = threading.Event(), []

        def slowly(event):
            if event.epoch == 5:
                went_on.append(seen.wait(20))

        training = threading.Thread(
            target=dp.fit, args=(net, X, Y),
            kwargs={"max_epochs": 12, "validation": 0.2, "callbacks": [watch, slowly]},
        )  # fmt: skip
        training.start()
        tab.wait_for_selector("dp-training .status >> text=Now at epoch 5 of at most 12")
        assert tab.locator("dp-training svg").count() == 4
        assert tab.locator("dp-training .line").count() == 2 + 3 * 2
        seen.set()
        training.join()
        watch.finish()
        tab.wait_for_selector("dp-training .status >> text=Finished after epoch 12")
        assert went_on == [True]
        tab.wait_for_timeout(400)
        assert_shown(tab, "a_0", net.trace(X[:1], Y[:1]).a[0])  # with the weights after training


def test_epochs_and_layers_are_recorded_during_training():
    net = small_network(dtype="float32")
    with dp.Watch(net, X[:30], Y[:30], open_browser=False) as watch:
        history = dp.fit(net, X, Y, max_epochs=7, validation=0.2, callbacks=[watch])
        status, _, news = ask(watch.url, "api/epochs?after=0")
        assert status == 200
        assert news["finished"]  # fit called `finish` of its callbacks
        assert [e["loss"] for e in news["epochs"]] == history.loss_curve
        assert [e["validation_loss"] for e in news["epochs"]] == history.validation_loss_curve
        assert [e["epoch"] for e in ask(watch.url, "api/epochs?after=5")[2]["epochs"]] == [6, 7]
        layers = news["epochs"][0]["layers"]
        assert all("layers" in epoch for epoch in news["epochs"]), "a short training has curves"
        assert len(layers) == 2
        assert set(layers[0]) == {"W", "delta", "dW"}
        assert ask(watch.url, "api/epochs?after=7")[2] == {
            "epochs": [], "total": 7, "finished": True
        }  # fmt: skip


def test_an_estimator_is_watched_from_before_its_first_fit():
    labels = IRIS.target_names[Y]
    model = dp.MLPClassifier((4,), max_iter=3, random_state=0)
    with dp.Watch(model, X, labels, open_browser=False) as watch:
        assert ask(watch.url, "api/network")[2] == {"ready": False, "live": True}
        assert ask(watch.url, "api/trace", {})[0] == 400
        model.set_params(callbacks=[watch]).fit(X, labels)
        network = ask(watch.url, "api/network")[2]
        assert network["outputs"] == list(IRIS.target_names)
        assert trace(watch, step="X_2")["yhat"] == pytest.approx(model.predict_proba(X[:1])[0])
        with pytest.raises(ValueError, match="network expects 3"):
            model.fit(X[:, :3], labels)  # other columns, which do not fit the rows of the page
        assert len(model.coefs_[0]) == 4


def test_many_epochs_are_thinned():
    net = dp.Network(1, [dp.Dense(1)], loss="squared_error", seed=0)
    with dp.Watch(net, [[1.0]], [1.0], open_browser=False) as watch:
        dp.fit(net, [[1.0]], [1.0], max_epochs=3000, tol=0.0, patience=9999, callbacks=[watch])
        news = ask(watch.url, "api/epochs?after=0")[2]
        assert news["total"] == 3000
        assert len(news["epochs"]) == 1000
        assert news["epochs"][-1]["epoch"] == 3000


def test_a_stalled_browser_does_not_block_training():
    import socket

    net = small_network()
    with dp.Watch(net, X, Y, open_browser=False) as watch:
        parts = urlsplit(watch.url)
        silent = [socket.create_connection(("127.0.0.1", parts.port)) for _ in range(20)]
        request = f"GET {parts.path}api/epochs?after=0 HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"
        for connection in silent[:10]:
            connection.sendall(request.encode())  # the response is never read
        history = dp.fit(net, X, Y, max_epochs=20, callbacks=[watch])
        assert history.n_epochs == 20
        assert ask(watch.url, "api/epochs?after=0")[2]["total"] == 20
        for connection in silent:
            connection.close()


RUN = [sys.executable, "-m", "deltaprop.cli"]


def test_train_watch_ends_without_a_terminal(tmp_path):
    done = subprocess.run(
        [*RUN, "train", str(Path("data/penguins.csv").resolve()), "--target", "species",
         "--folds", "2", "--epochs", "5", "--watch", "--json"],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == 2 * 5  # of two networks
    assert re.search(r"Watch the training at http://127.0.0.1:\d+/\S+/\n\Z", done.stderr)
    assert (tmp_path / "model.dp").exists()


def test_train_watch_serves_the_model_until_ctrl_c(tmp_path):
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        [*RUN, "train", str(Path("data/penguins.csv").resolve()), "--target", "body_mass_g",
         "--folds", "1", "--epochs", "5", "--watch"],
        stdout=subprocess.PIPE, stderr=theirs, cwd=tmp_path, text=True,
        env={name: value for name, value in os.environ.items()
             if name not in ("DISPLAY", "WAYLAND_DISPLAY")},
    )  # fmt: skip
    os.close(theirs)
    said = read_until(ours, "until Ctrl-C")
    url = re.search(r"is at (http://127.0.0.1:\d+/\S+/)", said).group(1)
    assert ask(url, "api/epochs?after=0")[2]["finished"]
    answer = ask(url, "api/trace", {})[2]
    table = dp.tables.read_table("data/penguins.csv")
    model = dp.load(tmp_path / "model.dp")
    row = dict(zip(model.encoder_.feature_names_in_, answer["inputs"][0], strict=True))
    predicted = model.predict(pd.DataFrame([row])[list(model.encoder_.feature_names_in_)])
    assert float(answer["prediction"]) == pytest.approx(predicted[0], rel=1e-5)
    assert answer["targets"][0][0] in set(table["body_mass_g"])
    run.send_signal(signal.SIGINT)
    assert run.wait(20) == 0
    os.close(ours)
