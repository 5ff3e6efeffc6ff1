"""Conversion from and to scikit-learn, PyTorch, Keras and ONNX: the same outputs."""

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.exceptions import NotFittedError

import deltaprop as dp
from deltaprop.errors import InputError, InputTypeError
from deltaprop.export.keras_models import ACTIVATIONS as KERAS
from deltaprop.export.torch_modules import MODULES

from .strategies import OUTPUT_ACTIVATIONS

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 4))
CODES = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 0.8)
TARGETS = {
    "two classes": np.array(["no", "yes"])[CODES % 2],
    "classes": CODES * 3,
    "labels": (X[:, :3] > 0).astype(int),
    "number": X[:, 0] * 5 + 1,
    "numbers": X[:, :2],
    "counts": np.abs(X[:, 0]).round(),
}


def network(f="tanh", out="identity", dtype="float64", dropout=0.0):
    layers = [dp.Dense(5, f, dropout), dp.Dense(3, f), dp.Dense(2, out)]
    net = dp.Network(4, layers, loss="squared_error", dtype=dtype, seed=0)
    net.theta = net.theta + 0.2 * rng.normal(size=net.theta.size)
    return net


def same_network(ours, theirs):
    assert ours.n_features == theirs.n_features
    assert ours.layers == theirs.layers
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours.theta, theirs.theta)


# ---------------------------------------------------------------- scikit-learn


def fitted(module, case, **options):
    options = {"max_iter": 15, "random_state": 0, "hidden_layer_sizes": (6, 3)} | options
    kind = module.MLPClassifier if "class" in case or case == "labels" else module.MLPRegressor
    if case == "counts":
        options["loss"] = "poisson"
    return kind(**options).fit(X, TARGETS[case])


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("case", TARGETS)
def test_from_sklearn_and_back(case, activation):
    theirs = fitted(neural_network, case, activation=activation, early_stopping=case == "number")
    ours = dp.from_sklearn(theirs)
    back = dp.to_sklearn(ours)
    for model in (ours, back):
        np.testing.assert_array_equal(model.predict(X), theirs.predict(X)) if hasattr(
            theirs, "classes_"
        ) else np.testing.assert_allclose(model.predict(X), theirs.predict(X), rtol=1e-9)
        if hasattr(theirs, "predict_proba"):
            np.testing.assert_allclose(
                model.predict_proba(X), theirs.predict_proba(X), rtol=1e-9, atol=1e-12
            )
        assert model.score(X, TARGETS[case]) == pytest.approx(theirs.score(X, TARGETS[case]))
        assert model.loss_curve_ == theirs.loss_curve_
        assert model.n_iter_ == theirs.n_iter_
    assert back.get_params() == theirs.get_params()


def test_a_converted_estimator_can_be_saved_and_trained_further(tmp_path):
    theirs = fitted(neural_network, "classes")
    ours = dp.from_sklearn(theirs)
    dp.save(ours, tmp_path / "model.dp")
    loaded = dp.load(tmp_path / "model.dp")
    np.testing.assert_array_equal(loaded.predict_proba(X), ours.predict_proba(X))
    before = ours.network_.loss(X, CODES)
    for _ in range(20):
        ours.partial_fit(X, TARGETS["classes"])
    assert ours.network_.loss(X, CODES) < before
    back = dp.to_sklearn(ours).set_params(warm_start=True, max_iter=3)
    back.fit(X, TARGETS["classes"])
    assert ours.fit_history().loss_curve[:3] == theirs.loss_curve_[:3]


def test_our_parameters_that_sklearn_does_not_have():
    ours = fitted(
        dp, "classes", dropout=0.1, solver="adamw", learning_rate="cosine", activation=["relu"] * 2
    )
    theirs = dp.to_sklearn(ours)
    np.testing.assert_allclose(theirs.predict_proba(X), ours.predict_proba(X), rtol=1e-9)
    assert theirs.get_params()["activation"] == "relu"
    theirs.fit(X, TARGETS["classes"])


def test_feature_names_are_kept():
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(X, columns=list("abcd"))
    theirs = neural_network.MLPRegressor(max_iter=3).fit(table, X[:, 0])
    ours = dp.from_sklearn(theirs)
    np.testing.assert_allclose(ours.predict(table), theirs.predict(table), rtol=1e-9)
    assert dp.to_sklearn(ours).feature_names_in_.tolist() == list("abcd")


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: dp.from_sklearn(neural_network.MLPClassifier()), NotFittedError, "not fitted"),
        (lambda: dp.from_sklearn(dp.MLPClassifier()), InputTypeError, "scikit-learn's"),
        (lambda: dp.to_sklearn(network()), InputTypeError, "got Network"),
        (lambda: dp.to_sklearn(fitted(dp, "classes", activation="gelu")), InputError, "has gelu"),
        (
            lambda: dp.to_sklearn(fitted(dp, "classes", activation=["relu", "tanh"])),
            InputError, "one activation for all",
        ),
        (lambda: dp.to_sklearn(fitted(dp, "classes", loss="hinge")), InputError, "'hinge'"),
        (lambda: dp.to_sklearn(fitted(dp, "number", loss="gaussian_nll")), InputError, "gaussian"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_sklearn_does_not_have(make, error, words):
    with pytest.raises(error, match=words):
        make()


# ---------------------------------------------------------------- PyTorch


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("f", MODULES)
def test_to_torch_and_back(f, dtype):
    torch = pytest.importorskip("torch")
    net = network(f, f, dtype, dropout=0.25)
    module = dp.to_torch(net)
    with torch.no_grad():
        found = module(torch.as_tensor(X.astype(dtype))).numpy()
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == "float32" else 1e-7  # softplus of PyTorch is linear above 20
    np.testing.assert_allclose(found, net.predict(X.astype(dtype)), tolerance, tolerance)
    same_network(net, dp.from_torch(module))


def test_estimators_to_torch():
    torch = pytest.importorskip("torch")
    model = fitted(dp, "classes")
    with torch.no_grad():
        P = dp.to_torch(model)(torch.as_tensor(X)).numpy()
    np.testing.assert_allclose(P, model.predict_proba(X), rtol=1e-9)


def test_input_scales_to_torch():
    torch = pytest.importorskip("torch")
    net = dp.Network(4, [dp.Dense(2, "tanh", input_scale=True)], loss="squared_error", seed=0)
    net.r[0][...] = [1, 2, 3, 4]
    with torch.no_grad():
        np.testing.assert_allclose(dp.to_torch(net)(torch.as_tensor(X)).numpy(), net.predict(X))


def test_a_torch_module_of_others():
    nn = pytest.importorskip("torch").nn
    torch = pytest.importorskip("torch")
    inner = nn.Sequential(nn.Linear(4, 6, bias=False), nn.SiLU(), nn.Dropout(0.5), nn.Identity())
    module = nn.Sequential(nn.Flatten(), inner, nn.Linear(6, 3), nn.Softmax(dim=1)).eval()
    net = dp.from_torch(module)
    with torch.no_grad():
        expected = module(torch.as_tensor(X, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(net.predict(X.astype("float32")), expected, atol=1e-6)
    assert net.loss_function.name == "cross_entropy"
    assert net.layers[0].dropout == 0.5
    assert dp.from_torch(module, loss="focal").loss_function.name == "focal"
    half = dp.from_torch(module.to(torch.bfloat16))
    np.testing.assert_allclose(half.predict(X.astype("float32")), expected, atol=0.02)


def test_what_torch_has_and_we_do_not():
    nn = pytest.importorskip("torch").nn
    linear = nn.Linear(2, 2)
    for module, words in [
        (nn.Sequential(linear, nn.BatchNorm1d(2)), "BatchNorm1d.*cannot be converted"),
        (nn.Sequential(linear, nn.LeakyReLU(0.2)), r"LeakyReLU\(negative_slope=0.2\)"),
        (nn.Sequential(linear, nn.ELU(2.0)), r"ELU\(alpha=2.0\)"),
        (nn.Sequential(linear, nn.LogSoftmax(1)), "replace it by Softmax"),
        (nn.Sequential(linear, nn.ReLU(), nn.Tanh()), r"Tanh\(\) does not follow"),
        (nn.Sequential(nn.ReLU(), linear), r"ReLU\(\) does not follow"),
        (nn.Sequential(nn.Dropout(), linear), "Dropout of the input"),
        (nn.Sequential(), "no fully connected layer"),
    ]:
        with pytest.raises(InputError, match=words):
            dp.from_torch(module)


def test_what_torch_does_not_have():
    pytest.importorskip("torch")
    trainable = dp.Dense(2, "relu", trainable_activation=True)
    for model, words in [
        (dp.Network(2, [trainable, dp.Dense(1)], loss="squared_error"), "trainable relu"),
        (dp.Network(2, [dp.Dense(1, "exp")], loss="poisson"), "'exp'"),
        (dp.TabularRegressor(), "model.networks_"),
    ]:
        with pytest.raises(InputError, match=words):
            dp.to_torch(model)


# ---------------------------------------------------------------- Keras


@pytest.mark.parametrize("f", KERAS)
def test_from_keras(f):
    keras = pytest.importorskip("keras")
    layers = keras.layers
    model = keras.Sequential([
        layers.Input((4,)), layers.Dense(6, f), layers.Dropout(0.2),
        layers.Dense(5, use_bias=False), layers.Activation(f), layers.Dense(3, f),
    ])  # fmt: skip
    net = dp.from_keras(model)
    rows = 0.1 * X.astype("float32")  # so that exp of exp of exp does not magnify rounding
    expected = np.asarray(model.predict(rows, verbose=0))
    np.testing.assert_allclose(net.predict(rows), expected, 1e-5, 1e-5)
    assert [layer.dropout for layer in net.layers] == [0.2, 0, 0]


def test_other_layers_of_keras():
    layers = pytest.importorskip("keras").layers
    keras = pytest.importorskip("keras")
    inner = keras.Sequential([layers.Dense(4), layers.ReLU(), layers.Dense(3), layers.Softmax()])
    model = keras.Sequential([layers.Input((4,)), layers.Flatten(), inner])
    net = dp.from_keras(model)
    expected = np.asarray(model.predict(X.astype("float32"), verbose=0))
    np.testing.assert_allclose(net.predict(X.astype("float32")), expected, atol=1e-6)
    for layer, words in [
        (layers.BatchNormalization(), "BatchNormalization"),
        (layers.Dense(2, "leaky_relu"), "leaky_relu"),
        (layers.ReLU(max_value=6), "ReLU"),
    ]:
        with pytest.raises(InputError, match=words):
            dp.from_keras(keras.Sequential([layers.Input((4,)), layers.Dense(3), layer]))
    a = layers.Input((4,))
    both = layers.Add()([layers.Dense(4)(a), a])
    with pytest.raises(InputError, match="do not follow each other"):
        dp.from_keras(keras.Model(a, both))


# ---------------------------------------------------------------- ONNX


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("f", [f for f in OUTPUT_ACTIVATIONS if f != "mean_variance"])
def test_to_onnx_and_back(f, dtype, tmp_path):
    pytest.importorskip("onnx")
    net = network(f, f, dtype)
    dp.to_onnx(net, tmp_path / "net.onnx", dtype=dtype)
    same_network(net, dp.from_onnx(tmp_path / "net.onnx"))


def test_half_precision_from_onnx(tmp_path):
    pytest.importorskip("onnx")
    net = network("silu", "softmax", "float32")
    dp.to_onnx(net, tmp_path / "net.onnx", dtype="float16")
    back = dp.from_onnx(tmp_path / "net.onnx")
    assert back.layers == net.layers
    np.testing.assert_allclose(back.theta, net.theta, rtol=1e-3)


def test_estimators_from_onnx(tmp_path):
    pytest.importorskip("onnx")
    model = fitted(dp, "classes")
    dp.to_onnx(model, tmp_path / "model.onnx", dtype="float64")
    np.testing.assert_array_equal(
        dp.from_onnx(tmp_path / "model.onnx").predict(X), model.predict_proba(X)
    )


@pytest.mark.parametrize("f", MODULES)
def test_torch_to_onnx_to_us(f, tmp_path):
    onnx, torch = pytest.importorskip("onnx"), pytest.importorskip("torch")
    net = network(f, f, "float32")
    rows = torch.as_tensor(X.astype("float32"))
    torch.onnx.export(dp.to_torch(net), (rows,), tmp_path / "net.onnx", dynamo=False)
    back = dp.from_onnx(onnx.load(tmp_path / "net.onnx"))
    assert back.layers == net.layers
    np.testing.assert_array_equal(back.theta, net.theta)


def test_sklearn_to_onnx_to_us():
    skl2onnx = pytest.importorskip("skl2onnx")
    model = fitted(neural_network, "classes")
    file = skl2onnx.to_onnx(model, X[:1], options={"zipmap": False})
    net = dp.from_onnx(file, output="probabilities")
    np.testing.assert_allclose(net.predict(X), model.predict_proba(X), rtol=1e-9)
    assert [layer.activation.name for layer in net.layers] == ["relu", "relu", "softmax"]


def test_what_onnx_has_and_we_do_not(tmp_path):
    onnx = pytest.importorskip("onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(InputError, match="no valid ONNX file"):
        dp.from_onnx(broken)
    with pytest.raises(InputError, match="There is no file"):
        dp.from_onnx(tmp_path / "nowhere.onnx")
    head = "agraph (float[N,2] x) => (float[N,2] y) <float[2,2] W = {1,2,3,4}>"
    for body, words in [
        ("y = Sin(x)", "no fully connected layer"),
        ("a = MatMul(x, W) y = Sin(a)", "followed by Sin, which is no built-in activation"),
        ("z = Sin(x) y = MatMul(z, W)", "'x' is followed by Sin|not go to the first layer"),
        ("a = MatMul(x, W) y = Add(a, x)", "do not follow each other"),
        ("z = Relu(x) y = MatMul(z, W)", "does not go to the first layer unchanged"),
    ]:
        text = f'<ir_version: 8, opset_import: ["" : 15]> {head} {{ {body} }}'
        with pytest.raises(InputError, match=words):
            dp.from_onnx(onnx.parser.parse_model(text))
    with pytest.raises(InputError, match=r"the output 'z'.*are 'y'"):
        dp.from_onnx(onnx.parser.parse_model(text), output="z")
