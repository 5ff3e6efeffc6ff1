"""Rows, checkpoints, models and predictions in an S3 bucket, served on this machine."""

import io
import json
import re
import signal
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

import deltaprop as dp
from deltaprop.cli.app import app
from deltaprop.files import ModelFileError
from deltaprop.tables import TableError, read_table, stream


@pytest.fixture(scope="module")
def bucket():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            fsspec.config.conf,
            "s3",
            {"endpoint_url": f"http://{host}:{port}", "key": "x", "secret": "y"},
        )
        files = fsspec.filesystem("s3")
        files.mkdir("bucket")
        table = read_table("data/penguins.csv")
        for k in range(3):
            files.pipe(f"bucket/rows/{k}.parquet", table.iloc[k::3].to_parquet())
        yield files
    server.stop()


def read(files, name):
    return pd.read_parquet(io.BytesIO(files.cat_file(f"bucket/{name}")))


def test_command_line_with_a_bucket(bucket):
    train = ["train", "s3://bucket/rows/*.parquet", "--target", "species", "--epochs", "30",
             "-o", "s3://bucket/model.dp", "--checkpoint", "s3://bucket/run", "--json"]  # fmt: skip
    done = CliRunner().invoke(app, train)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["model"] == "s3://bucket/model.dp"
    done = CliRunner().invoke(
        app, ["predict", "s3://bucket/model.dp", "s3://bucket/rows", "-o", "s3://bucket/p.parquet"]
    )
    assert done.exit_code == 0, done.output
    table = pd.concat([read(bucket, f"rows/{k}.parquet") for k in range(3)])
    predicted = read(bucket, "p.parquet")["species"]
    model = dp.load("s3://bucket/model.dp")
    np.testing.assert_array_equal(predicted, model.predict(table))
    assert (predicted.to_numpy() == table["species"]).mean() > 0.9
    files = [path.split("/")[1] for path in bucket.find("bucket")]
    assert files == ["model.dp", "p.parquet", "rows", "rows", "rows", "run"]


def interrupted_after_two(epoch):
    if epoch.epoch == 2:
        signal.raise_signal(signal.SIGINT)


def test_training_resumes_from_a_bucket(bucket):
    X, y = np.random.RandomState(0).randn(2, 400, 3)
    thetas = []
    for folder in ("s3://bucket/cut", "s3://bucket/straight"):
        net = dp.Network(3, [dp.Dense(8), dp.Dense(3)], loss="squared_error", seed=0)
        checkpoint = dp.Checkpoint(folder, seconds=None, steps=3)
        settings = {"checkpoint": checkpoint, "max_epochs": 6, "engine": "reference"}
        if folder.endswith("cut"):
            with pytest.warns(UserWarning, match="continues from 's3://bucket/cut'"):
                dp.fit(net, X, y, callbacks=[interrupted_after_two], **settings)
            net = dp.Network(3, [dp.Dense(8), dp.Dense(3)], loss="squared_error", seed=0)
        history = dp.fit(net, X, y, **settings)
        assert history.n_epochs == 6
        thetas.append(net.theta)
    np.testing.assert_array_equal(*thetas)
    assert len(bucket.ls("bucket/cut")) == 3


def test_a_missing_bucket_is_an_error_before_training(bucket):
    train = ["train", "data/penguins.csv", "--target", "species", "--quiet"]
    done = CliRunner().invoke(app, [*train, "-o", "s3://absent/model.dp"])
    assert done.exit_code != 0
    assert "there is no bucket 'absent'" in str(done.exception)


def test_a_model_that_cannot_be_uploaded_is_saved_locally(bucket, monkeypatch):
    def refused(*args, **settings):
        raise RuntimeError("no route to host")

    monkeypatch.setattr(bucket, "put_file", refused)
    train = ["train", "data/penguins.csv", "--target", "species", "--quiet", "--epochs", "2"]
    done = CliRunner().invoke(app, [*train, "-o", "s3://bucket/lost.dp"])
    assert done.exit_code != 0
    kept = re.search(r"no route to host.* The model is in (.*) instead", str(done.exception))[1]
    assert dp.load(kept).classes_.tolist() == ["Adelie", "Chinstrap", "Gentoo"]
    Path(kept).unlink()


def test_a_missing_bucket_is_not_created(bucket):
    net = dp.Network(1, [dp.Dense(1)], loss="huber", seed=0)
    with pytest.raises(ModelFileError, match="there is no bucket 'absent'"):
        dp.fit(net, [[1.0]], [1.0], checkpoint="s3://absent/run")
    with pytest.raises(ModelFileError, match=r"could not be written: .*bucket does not exist"):
        dp.save(net, "s3://absent/net.dp")
    with pytest.raises(TableError, match="There is no file"):
        stream("s3://absent/rows", "y")
    assert not bucket.exists("absent")
