"""``deltaprop serve``: the answers of the application, and the process that runs it."""

import asyncio
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deltaprop as dp
from deltaprop.data.predicting import predictions

pytest.importorskip("starlette")
pytest.importorskip("httpx")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that it will need another client
    from starlette.testclient import TestClient

from deltaprop.serving import Limits, application

ARROW = "application/vnd.apache.arrow.stream"
JSON = {"content-type": "application/json"}


def table(n=120):
    rng = np.random.default_rng(0)
    size = rng.normal(50, 10, n)
    return pd.DataFrame(
        {
            "size": np.where(rng.random(n) < 0.1, np.nan, size),
            "colour": rng.choice(["red", "blue", "green"], n),
            "day": pd.date_range("2024-01-01", periods=n).strftime("%Y-%m-%d"),
            "flag": rng.random(n) < 0.5,
            "empty": np.full(n, None, dtype=object),
            "kind": np.where(size > 50, "large", "small"),
            "price": size * 3.0 + rng.normal(size=n),
        }
    )


def as_rows(frame):
    """Rows as JSON has them."""
    return json.loads(frame.drop(columns="empty").to_json(orient="records", double_precision=15))


@pytest.fixture(scope="module")
def rows():
    return table().drop(columns=["kind", "price"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place, found = tmp_path_factory.mktemp("serving"), table()
    X = found.drop(columns=["kind", "price"])
    dp.save(
        dp.TabularClassifier(cv=3, max_iter=5, random_state=0).fit(X, found.kind), place / "c.dp"
    )
    dp.save(
        dp.TabularRegressor(cv=3, max_iter=5, random_state=0).fit(X, found.price), place / "r.dp"
    )
    return place


def client_of(path, base_url="http://127.0.0.1", **options):
    return TestClient(application(str(path), **options), base_url=base_url)


@pytest.fixture(scope="module")
def client(folder):
    with client_of(folder / "c.dp") as client:
        yield client


@pytest.fixture(scope="module")
def regressor(folder):
    with client_of(folder / "r.dp") as client:
        yield client


def answer(client, path, body, status=200, **headers):
    found = client.post(path, content=json.dumps(body), headers={**JSON, **headers})
    assert found.status_code == status, found.text
    return found.json()


# ---------------------------------------------------------------- predictions


def test_rows_columns_and_arrow_get_the_predictions_of_the_model(client, folder, rows):
    model = dp.load(folder / "c.dp")
    expected = predictions(model, rows, proba=True)
    by_rows = answer(client, "/predict?proba=true", {"rows": as_rows(rows)})
    pd.testing.assert_frame_equal(
        pd.DataFrame(by_rows["predictions"]), expected, check_dtype=False, rtol=1e-6
    )
    given = as_rows(rows)
    columns = {name: [row[name] for row in given] for name in given[0]}
    by_columns = answer(client, "/predict?proba=true", {"columns": columns})
    assert pd.DataFrame(by_columns["predictions"]).equals(pd.DataFrame(by_rows["predictions"]))
    sent = client.post("/predict?proba=true", content=stream(rows), headers={"content-type": ARROW})
    assert sent.headers["content-type"] == ARROW
    found = pa.ipc.open_stream(sent.content).read_all().to_pandas()
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-6)


def stream(frame, **options):
    data = pa.Table.from_pandas(frame, preserve_index=False)
    out = io.BytesIO()
    with pa.ipc.new_stream(out, data.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(data)
    return out.getvalue()


@pytest.mark.parametrize("colour", [pa.dictionary(pa.int8(), pa.string()), pa.large_string()])
def test_arrow_of_other_types_and_an_answer_in_json(client, rows, colour):
    data = pa.Table.from_pandas(rows.head(5), preserve_index=False)
    day = pa.array(pd.to_datetime(rows.day.head(5)))
    data = data.set_column(1, "colour", data["colour"].cast(colour)).set_column(2, "day", day)
    out = io.BytesIO()
    with pa.ipc.new_stream(out, data.schema) as writer:
        writer.write_table(data)
    sent = client.post(
        "/predict",
        content=out.getvalue(),
        headers={"content-type": ARROW, "accept": "application/json"},
    )
    by_rows = answer(client, "/predict", {"rows": as_rows(rows.head(5))})["predictions"]
    assert sent.json()["predictions"] == {"kind": [row["kind"] for row in by_rows]}


def test_intervals_of_numbers(regressor, folder, rows):
    found = answer(regressor, "/predict?interval=0.8", {"rows": as_rows(rows)})["predictions"]
    expected = predictions(dp.load(folder / "r.dp"), rows, interval=0.8)
    np.testing.assert_allclose(pd.DataFrame(found), expected, rtol=1e-6)
    # 0.999 of so few held-out rows is infinite, which JSON cannot say.
    wide = answer(regressor, "/predict?interval=0.999", {"rows": as_rows(rows.head(1))})
    assert wide["predictions"][0]["price_low"] is None


def test_v2_predicts_and_describes(client, rows):
    about = client.get("/v2/models/c").json()
    assert [tensor["name"] for tensor in about["inputs"]] == ["size", "colour", "day", "flag"]
    assert about["inputs"][0]["datatype"] == "FP64"
    assert about["inputs"][1]["datatype"] == "BYTES"
    first = pd.DataFrame(as_rows(rows)).head(3)
    inputs = [
        {"name": t["name"], "datatype": t["datatype"], "shape": [3, 1],
         "data": [[value] for value in first[t["name"]].tolist()]}
        for t in about["inputs"]
    ]  # fmt: skip
    request = {"id": "7", "inputs": inputs, "outputs": [{"name": "kind"}]}
    found = answer(client, "/v2/models/c/infer", request)
    assert found["id"] == "7"
    assert found["outputs"] == [
        {"name": "kind", "datatype": "BYTES", "shape": [3],
         "data": [row["kind"] for row in answer(
             client, "/predict", {"rows": as_rows(rows.head(3))})["predictions"]]}
    ]  # fmt: skip
    request["outputs"] = [{"name": "probability_large"}]
    version = about["versions"][0]
    found = answer(client, f"/v2/models/c/versions/{version}/infer", request)
    assert [tensor["datatype"] for tensor in found["outputs"]] == ["FP32"]
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/c/ready"):
        assert client.get(path).status_code == 200


def tensors(frame):
    datatypes = {"size": "FP64", "flag": "BOOL"}
    return [
        {"name": name, "datatype": datatypes.get(name, "BYTES"), "shape": [len(frame)],
         "data": column.tolist()}
        for name, column in pd.DataFrame(as_rows(frame)).items()
    ]  # fmt: skip


V2 = {
    "an id": (lambda r: r.update(id=7), "id must be a string"),
    "rows": (lambda r: r["inputs"][0].update(shape=[1], data=[1.0]), "different numbers of rows"),
    "names": (lambda r: r["inputs"].append(r["inputs"][0]), "two inputs have the same name"),
    "an input": (lambda r: r["inputs"].append("size"), "each input must be an object"),
    "datatype": (lambda r: r["inputs"][0].update(datatype="FP7"), "no known datatype; got 'FP7'"),
    "data": (lambda r: r["inputs"][0].update(data=1.0), "must have data, a list"),
    "a shape": (lambda r: r["inputs"][0].update(shape=[2, 2]), r"\[n\] or \[n, 1\]; got \[2, 2\]"),
    "a size": (lambda r: r["inputs"][0].update(shape=[3]), r"2 values, but the shape \[3\]"),
    "parameters": (lambda r: r.update(parameters=[]), "parameters must be an object"),
    "outputs": (lambda r: r.update(outputs=["kind"]), "outputs must be a list of objects"),
    "an output": (lambda r: r.update(outputs=[{"name": "x"}]), "no output 'x'; there are kind"),
    "proba": (lambda r: r.update(parameters={"proba": 1}), "proba must be true or false; got 1"),
    "interval": (
        lambda r: r.update(parameters={"interval": 2}), "interval must lie between 0 and 1; got 2"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", V2)
def test_an_invalid_v2_request_is_refused_with_a_reason(what, client, rows):
    request = {"inputs": tensors(rows.head(2))}
    answer(client, "/v2/models/c/infer", request)
    change, message = V2[what]
    change(request)
    response = client.post("/v2/models/c/infer", json=request)
    assert response.status_code in (400, 422)
    assert re.search(message, response.text)


def test_v2_gives_the_ends_of_an_interval_when_an_output_names_them(regressor, rows):
    request = {"inputs": tensors(rows.head(2)), "outputs": [{"name": "price_low"}]}
    found = answer(regressor, "/v2/models/r/infer", request)["outputs"]
    request = {"inputs": tensors(rows.head(2)), "parameters": {"interval": 0.9}}
    every = {o["name"]: o for o in answer(regressor, "/v2/models/r/infer", request)["outputs"]}
    assert found == [every["price_low"]]


def test_requests_that_arrive_together_are_predicted_together(folder, rows):
    from deltaprop.serving.batching import Batcher
    from deltaprop.serving.served import Asked, Given, Served

    served = Served.read(str(folder / "c.dp"))
    sizes, gate, alone = [], threading.Event(), served.predict_together

    def slow(parts, asked):
        gate.wait(10)
        return alone(parts, asked)

    served.predict_together = slow
    ask = Asked(proba=True)

    async def run():
        batcher = Batcher(1000, 1000, lambda n, seconds: sizes.append(n))
        given = []
        for i in range(20):
            cells = as_rows(rows.iloc[i : i + 1 + i % 3])
            columns = {f.name: f.read([c[f.name] for c in cells]) for f in served.fields}
            given.append(Given(columns, len(cells)))
        tasks = [asyncio.create_task(batcher.predict(served, g, ask)) for g in given]
        await asyncio.sleep(0.05)
        tasks[5].cancel()  # a client that goes away
        gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(batcher.close)
        return given, found

    given, found = asyncio.run(run())
    assert len(sizes) < 5
    assert max(sizes) > 20
    assert isinstance(found.pop(5), asyncio.CancelledError)
    del given[5]
    for one, together in zip(given, found, strict=True):
        expected = served.predict(one.columns, ask)
        assert expected["kind"].tolist() == together["kind"].tolist()
        np.testing.assert_allclose(
            expected["probability_large"], together["probability_large"], atol=1e-5
        )


def test_a_request_that_fails_does_not_fail_others(folder):
    from deltaprop.serving.batching import Batcher
    from deltaprop.serving.served import Asked, Given

    class Fragile:
        def predict_together(self, parts, asked):
            time.sleep(0.02)
            if any("bad" in part for part in parts):
                raise ValueError("bad rows")
            return [{"y": np.ones(1)} for _ in parts]

    async def run():
        batcher, served = Batcher(100, 100, lambda n, seconds: None), Fragile()
        parts = [{"good": 0}, {"good": 1}, {"bad": 2}, {"good": 3}]
        jobs = [batcher.predict(served, Given(part, 1), Asked()) for part in parts]
        found = await asyncio.gather(*jobs, return_exceptions=True)
        await asyncio.to_thread(batcher.close)
        return [type(result) for result in found]

    assert asyncio.run(run()) == [dict, dict, ValueError, dict]


# ---------------------------------------------------------------- what is refused


ROW = {"size": 1.0, "colour": "red", "day": "2024-01-01", "flag": True}
WRONG = {
    "no object": ([ROW], 422, "must be an object"),
    "both keys": ({"rows": [ROW], "columns": {}}, 422, "one of two keys"),
    "no rows": ({"rows": []}, 422, "no rows"),
    "a row that is none": ({"rows": [3]}, 422, "row 0 must be an object"),
    "a missing column": ({"rows": [ROW, {"size": 1}]}, 422, "row 1: missing column"),
    "a string for a number": ({"rows": [ROW, ROW | {"size": "x"}]}, 422, "row 1, column 'size'"),
    "a number for a date": ({"rows": [ROW | {"day": 5}]}, 422, "column 'day'"),
    "no date": ({"rows": [ROW | {"day": "soon"}]}, 422, "column 'day'"),
    "a list for a word": ({"rows": [ROW | {"colour": [1]}]}, 422, "an array: [1]"),
    "a huge integer": ({"rows": [ROW | {"size": 10**400}]}, 422, "float64"),
    "unequal columns": (
        {"columns": {"size": [1, 2], "colour": ["red"], "day": [None], "flag": [None]}},
        422,
        "has 1 values",
    ),
    "too many rows": ({"rows": [ROW] * 101}, 413, "at most 100"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_refused_with_a_reason(what, folder):
    body, status, reason = WRONG[what]
    with client_of(folder / "c.dp", limits=Limits(rows=100)) as client:
        assert reason in answer(client, "/predict", body, status)["error"]


def test_other_refusals(client, regressor, folder):
    def refused(client, path, status, method="POST", content=b"{}", **headers):
        found = client.request(method, path, content=content, headers={**JSON, **headers})
        assert found.status_code == status, found.text
        return found.json()["error"]

    assert "NaN" in refused(client, "/predict", 400, content=b'{"rows": [NaN]}')
    assert "not valid JSON" in refused(client, "/predict", 400, content=b"\xff")
    assert "nested" in refused(client, "/predict", 400, content=b"[" * 100_000)
    wrong = {"content-type": "text/csv"}
    assert "text/csv" in refused(client, "/predict", 415, **wrong)
    assert "'probs'" in refused(client, "/predict?probs=true", 422)
    assert "true or false" in refused(client, "/predict?proba=1", 422)
    assert "classifier" in refused(regressor, "/predict?proba=true", 422)
    assert "interval" in refused(regressor, "/predict?interval=2", 422)
    assert "regressor" in refused(client, "/predict?interval=0.9", 422)
    assert "no model 'x'" in refused(client, "/v2/models/x", 404, "GET")
    assert "/docs" in refused(client, "/nothing", 404, "GET")
    assert client.get("/predict").status_code == 405
    with client_of(folder / "c.dp", limits=Limits(body=100)) as small:
        assert "100 bytes" in refused(small, "/predict", 413, content=b" " * 101)
        chunks = (b" " * 60 for _ in range(2))  # without a length
        assert "100 bytes" in refused(small, "/predict", 413, content=chunks)


def test_damaged_and_dangerous_arrow_is_refused(client, rows):
    def refused(content, status=400):
        found = client.post("/predict", content=content, headers={"content-type": ARROW})
        assert found.status_code == status, found.text
        return found.json()["error"]

    assert "not a stream" in refused(b"hello")
    assert "compressed" in refused(stream(rows.head(40), compression="zstd"))
    coded = rows.assign(colour=rows.colour.astype("category"))
    assert "compressed" in refused(stream(coded.head(40), compression="lz4"))
    nested = rows.head(1).assign(colour=[[1]])
    assert "cast it" in refused(stream(nested), 422)
    assert "missing column" in refused(stream(rows.head(2)[["size"]]), 422)
    good = bytearray(stream(rows.head(3)))
    where = good.find(b"red") - 64  # in the offsets of the strings
    good[where : where + 64] = b"\x7f" * 64
    refused(bytes(good))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_changed_bytes_of_arrow_never_crash(client, rows, data):
    content = bytearray(stream(rows.head(3)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(content)))
    found = client.post("/predict", content=bytes(content[:cut]), headers={"content-type": ARROW})
    assert found.status_code in (200, 400, 413, 422)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*ROW, "rows", "columns", "inputs"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(
    value=JSON_VALUES | st.fixed_dictionaries(
        {"rows": st.lists(st.fixed_dictionaries(dict.fromkeys(ROW, JSON_VALUES)), max_size=3)}
    ),
    path=st.sampled_from(["/predict", "/v2/models/c/infer"]),
)  # fmt: skip
def test_any_json_gets_predictions_or_a_reason(client, value, path):
    text = json.dumps(value)
    if "Infinity" in text:
        return
    found = client.post(path, content=text, headers=JSON)
    assert found.status_code in (200, 400, 422), found.text
    if found.status_code != 200:
        assert found.json()["error"]


def test_a_full_queue_is_refused_until_it_empties(folder):
    from deltaprop.serving.batching import Batcher
    from deltaprop.serving.problems import Refused
    from deltaprop.serving.served import Asked, Given

    class Slow:
        def predict_together(self, parts, asked):
            time.sleep(0.05)
            return [{"y": np.ones(1)} for _ in parts]

    async def run():
        batcher, served = Batcher(100, 3, lambda n, seconds: None), Slow()
        jobs = [batcher.predict(served, Given({}, 1), Asked()) for _ in range(5)]
        found = await asyncio.gather(*jobs, return_exceptions=True)
        again = await batcher.predict(served, Given({}, 1), Asked())
        await asyncio.to_thread(batcher.close)
        return found, again, batcher.waiting

    found, again, waiting = asyncio.run(run())
    assert [isinstance(result, Refused) for result in found] == [False] * 3 + [True] * 2
    assert found[-1].status == 503
    assert set(again) == {"y"}
    assert waiting == 0


def test_a_bug_is_counted_and_does_not_end_the_server(folder, monkeypatch):
    from deltaprop.serving.served import Served

    def fails(*args):
        raise ZeroDivisionError("a bug")

    app = application(str(folder / "c.dp"))
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        with monkeypatch.context() as patch:
            patch.setattr(Served, "predict_together", fails)
            found = client.post("/predict", json={"rows": [ROW]})
            assert found.status_code == 500
            assert "a bug" not in found.text
        assert answer(client, "/predict", {"rows": [ROW]})["predictions"]
        assert 'path="/predict",method="POST",status="500"} 1\n' in client.get("/metrics").text


# ---------------------------------------------------------------- token, hosts, metrics, pages


def test_a_token_is_required_everywhere_but_for_health_checks(folder):
    with client_of(folder / "c.dp", token="secret", base_url="http://example.org") as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic secret"}):
            for path in ("/metrics", "/docs", "/openapi.json", "/v2/models/c"):
                assert client.get(path, headers=headers).status_code == 401
            assert client.post("/predict", headers=headers).status_code == 401
        assert client.get("/v2/health/live").status_code == 200
        known = {"authorization": "bearer secret"}
        assert answer(client, "/predict", {"rows": [ROW]}, **known)["predictions"]


def test_without_a_token_pages_of_other_hosts_cannot_use_the_server_of_this_machine(folder):
    with client_of(folder / "c.dp", base_url="http://evil.example") as client:
        assert client.get("/v2/health/live").status_code == 421
    with client_of(folder / "c.dp", base_url="http://example.org", host="0.0.0.0") as client:
        assert client.get("/v2/health/live").status_code == 200


def test_metrics_count_requests_and_rows(folder, rows):
    with client_of(folder / "c.dp") as client:
        answer(client, "/predict", {"rows": as_rows(rows.head(7))})
        answer(client, "/predict", {"rows": []}, 422)
        client.get("/nothing")
        text = client.get("/metrics").text
    assert 'deltaprop_requests_total{path="/predict",method="POST",status="200"} 1\n' in text
    assert 'deltaprop_requests_total{path="/predict",method="POST",status="422"} 1\n' in text
    assert 'deltaprop_requests_total{path="other",method="GET",status="404"} 1\n' in text
    assert "deltaprop_rows_total 7\n" in text
    assert 'deltaprop_request_seconds_count{path="/predict"} 2\n' in text
    assert 'deltaprop_batch_rows_bucket{le="8"} 1\n' in text
    assert 'deltaprop_model_info{name="c",version="' in text
    for line in text.splitlines():
        assert line.startswith("# ") or len(line.rsplit(" ", 1)) == 2


def test_openapi_has_the_columns_of_the_model(client, regressor):
    found = client.get("/openapi.json").json()
    row = found["components"]["schemas"]["Row"]
    assert row["required"] == ["size", "colour", "day", "flag"]
    assert row["properties"]["size"]["type"] == ["number", "boolean", "null"]
    assert row["properties"]["colour"]["examples"] == ["blue", "green", "red"]
    outputs = found["components"]["schemas"]["Prediction"]
    assert outputs["required"] == ["kind"]
    assert "probability_large" in outputs["properties"]
    assert [p["name"] for p in found["paths"]["/predict"]["post"]["parameters"]] == ["proba"]
    found = regressor.get("/openapi.json").json()
    assert [p["name"] for p in found["paths"]["/predict"]["post"]["parameters"]] == ["interval"]
    references = [part["$ref"] for part in walk(found) if isinstance(part, dict) and "$ref" in part]
    for reference in references:
        part = found
        for key in reference.removeprefix("#/").split("/"):
            part = part[key]


def walk(value):
    yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, (dict, list)):
            yield from walk(inner)


def test_the_example_of_the_page_works(client):
    page = client.get("/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    import html

    body = html.unescape(page.text).split("-d '")[1].split("'</pre>")[0]
    assert answer(client, "/predict?proba=true", json.loads(body))["predictions"]


def test_other_kinds_of_models_are_refused(tmp_path):
    path = tmp_path / "net.dp"
    dp.save(dp.Network(2, [dp.Dense(1)], loss="squared_error", seed=0), path)
    with pytest.raises(dp.files.ModelFileError, match="contains a Network"):
        application(str(path))


@pytest.mark.parametrize("names", [True, False])
def test_mlp_estimators_and_pipelines(names, tmp_path):
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["x0", "x1"])
    given = X if names else X.to_numpy()
    y = np.where(X.x0 > 0, "yes", "no")
    pipe = make_pipeline(SimpleImputer(), StandardScaler(), dp.MLPClassifier(4, max_iter=9))
    regressor = dp.MLPRegressor(hidden_layer_sizes=4, max_iter=9).fit(given, X.x0 * 2)
    dp.save(pipe.fit(given, y), tmp_path / "pipe.dp")
    dp.save(regressor, tmp_path / "mlp.dp")
    rows = json.loads(X.head(3).to_json(orient="records", double_precision=15))
    with client_of(tmp_path / "pipe.dp") as client:
        found = answer(client, "/predict?proba=true", {"rows": rows})["predictions"]
        assert [row["prediction"] for row in found] == list(pipe.predict(given[:3]))
        P = pipe.predict_proba(given[:3])
        np.testing.assert_allclose([row["probability_yes"] for row in found], P[:, 1])
        assert answer(client, "/predict", {"rows": [rows[0] | {"x1": None}]})["predictions"]
    with client_of(tmp_path / "mlp.dp") as client:
        found = answer(client, "/predict", {"rows": rows})["predictions"]
        np.testing.assert_allclose(
            [row["prediction"] for row in found], regressor.predict(given[:3])
        )
        wrong = answer(client, "/predict", {"rows": [rows[0] | {"x1": None}]}, 422)
        assert "a number or a boolean" in wrong["error"]
        infinite = client.post(
            "/predict", content='{"rows": [{"x0": 1e999, "x1": 0}]}', headers=JSON
        )
        assert infinite.status_code == 422
        assert "infinity" in infinite.json()["error"]


def test_several_targets_and_labels_have_one_column_each(tmp_path):
    X = table().drop(columns=["kind", "price"])
    Y = np.column_stack([np.arange(len(X)), np.arange(len(X)) % 7.0])
    labels = (Y % 2).astype(int)
    for name, model, y, expected in (
        ("many.dp", dp.TabularRegressor, Y, {"prediction_0", "prediction_1"}),
        ("labels.dp", dp.TabularClassifier, labels, {"prediction_0", "prediction_1"}),
    ):
        dp.save(model(cv=1, max_iter=2, random_state=0).fit(X, y), tmp_path / name)
        with client_of(tmp_path / name) as client:
            found = answer(client, "/predict", {"rows": [ROW]})["predictions"]
            assert set(found[0]) == expected


# ---------------------------------------------------------------- reloading, and the process


def test_a_replaced_file_is_loaded_and_a_damaged_one_is_not(folder, tmp_path, capsys):
    path = tmp_path / "m.dp"
    path.write_bytes((folder / "c.dp").read_bytes())
    with client_of(path, reload_seconds=0.02) as client:
        version = answer(client, "/predict", {"rows": [ROW]})["model_version"]
        path.write_bytes(b"damaged")
        until(lambda: 'reloads_total{outcome="failed"} 1' in client.get("/metrics").text)
        assert "deltaprop_model_stale 1" in client.get("/metrics").text
        assert "The previous model stays" in capsys.readouterr().err
        assert answer(client, "/predict", {"rows": [ROW]})["model_version"] == version
        dp.save(dp.load(folder / "r.dp"), path)
        until(lambda: 'reloads_total{outcome="loaded"} 1' in client.get("/metrics").text)
        found = answer(client, "/predict", {"rows": [ROW]})
        assert found["model_version"] != version
        assert "price" in found["predictions"][0]
        assert "deltaprop_model_stale 0" in client.get("/metrics").text


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def started(*arguments, **options):
    process = subprocess.Popen(
        [sys.executable, "-m", "deltaprop", "serve", *map(str, arguments)],
        stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip
    line = process.stderr.readline()
    return process, line


def test_the_command_answers_and_ends_gracefully(folder):
    pytest.importorskip("uvicorn")
    import httpx

    process, line = started(folder / "c.dp", "--port", "0")
    try:
        address = line.split(" on ")[1].split(" until")[0]
        assert address.startswith("http://127.0.0.1:")
        found = httpx.post(f"{address}/predict", json={"rows": [ROW]}, timeout=30)
        assert set(found.json()["predictions"][0]) == {"kind"}
        port = address.rpartition(":")[2]
        busy, message = started(folder / "c.dp", "--port", port)
        assert busy.wait(60) == 2
        assert "Cannot listen" in message + busy.stderr.read()
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    assert code in (0, -signal.SIGTERM)
    assert process.stderr.read() == ""


def test_no_request_is_lost_while_the_file_is_replaced(folder, tmp_path):
    pytest.importorskip("uvicorn")
    import httpx

    first, second = ((folder / name).read_bytes() for name in ("c.dp", "r.dp"))
    path = tmp_path / "m.dp"
    path.write_bytes(first)
    process, line = started(path, "--port", "0", "--reload-seconds", "0.05")
    address, ended, found = line.split(" on ")[1].split(" until")[0], threading.Event(), []

    def ask():
        with httpx.Client(base_url=address, timeout=30) as client:
            while not ended.is_set():
                response = client.post("/predict", json={"rows": [ROW]})
                found.append((response.status_code, response.json().get("model_version")))

    clients = [threading.Thread(target=ask) for _ in range(4)]
    try:
        for each in clients:
            each.start()
        for data in (second, b"damaged", first, second):
            other = path.with_suffix(".new")
            other.write_bytes(data)
            other.replace(path)
            time.sleep(0.3)
        until(lambda: len({version for _, version in found}) == 2)
    finally:
        ended.set()
        for each in clients:
            each.join(30)
        process.terminate()
        process.wait(30)
    assert {status for status, _ in found} == {200}
    assert len({version for _, version in found}) == 2


def test_a_request_that_has_begun_is_answered_before_the_server_ends(folder):
    pytest.importorskip("uvicorn")
    process, line = started(folder / "c.dp", "--port", "0")
    try:
        host, port = line.split(" on http://")[1].split(" until")[0].split(":")
        body = json.dumps({"rows": [ROW]}).encode()
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(
                f"POST /predict HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body[:10]
            )
            time.sleep(0.3)  # until the server has begun to read it
            process.send_signal(signal.SIGTERM)
            until(lambda: not accepts(host, int(port)))
            assert process.poll() is None
            client.sendall(body[10:])
            received = b"".join(iter(lambda: client.recv(65536), b""))
        assert received.startswith(b"HTTP/1.1 200 ")
        assert b'"predictions"' in received
    finally:
        process.terminate()
        code = process.wait(30)
    assert code in (0, -signal.SIGTERM)


def accepts(host, port):
    """Whether a new connection is accepted."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def test_the_token_of_the_command(folder, tmp_path):
    from deltaprop.cli.serve import VARIABLE, _token

    Path(tmp_path / "token").write_text("secret\n")
    assert _token(None, str(tmp_path / "token")) == "secret"
    assert _token("own", None) == "own"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "from the environment")
        assert _token(None, None) == "from the environment"
    with pytest.raises(ValueError, match="either"):
        _token("own", str(tmp_path / "token"))
    with pytest.raises(ValueError, match="cannot be read"):
        _token(None, str(tmp_path / "nothing"))
