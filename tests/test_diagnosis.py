"""dp.diagnose finds planted faults, and nothing in healthy networks."""

import numpy as np
import pytest

import deltaprop as dp
from deltaprop.files import ModelFileError
from deltaprop.inspect.diagnosis import FAULTS

from .faulty_networks import FAULTY, HEALTHY, classifier, dead, table


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.__name__)
def test_healthy_networks_have_no_findings(case):
    model, X, y, history, validation = case()
    diagnosis = dp.diagnose(model, X, y, history, validation)
    assert not diagnosis, str(diagnosis)


@pytest.mark.parametrize("case", FAULTY, ids=lambda case: case.__name__)
def test_planted_faults_are_found(case):
    fault, layer, companions = FAULTY[case]
    model, X, y, history, validation = case()
    diagnosis = dp.diagnose(model, X, y, history, validation)
    assert fault in diagnosis.faults, str(diagnosis)
    assert set(diagnosis.faults) <= {fault, *companions}, str(diagnosis)
    found = next(finding for finding in diagnosis if finding.fault == fault)
    assert found.layer == layer
    assert any(character.isdigit() for character in found.evidence), "evidence has numbers"
    assert found.advice == FAULTS[fault]
    assert fault in str(diagnosis)
    assert found.evidence in str(diagnosis)


def test_every_fault_is_planted():
    assert {fault for fault, _, _ in FAULTY.values()} == set(FAULTS)


def test_records_show_when_a_fault_began():
    model, X, y, history, _ = dead()
    assert "since step 0" in dp.diagnose(model, X, y, history)[0].evidence


def test_saturation_of_custom_activations_is_found_from_their_slope():
    """Only f′ of a custom activation shows that its units are flat."""
    soft = dp.Activation(
        "softsign", lambda a, xp: a / (1 + xp.abs(a)), lambda a, z, xp: 1 / (1 + xp.abs(a)) ** 2
    )
    net, X, _, y, _ = classifier("digits", dp.Dense(10, soft))
    assert not dp.diagnose(net, X, y)
    net.W[0][...] *= 1e3
    assert dp.diagnose(net, X, y).faults == ["saturated units"]


def test_overflow_is_reported():
    net, X, _, y, _ = classifier("iris", dp.Dense(4, "relu"))
    net.theta[...] = 1e200
    assert dp.diagnose(net, X, y).faults == ["exploding error signals"]


def test_findings_name_the_columns_of_dataframes():
    pd = pytest.importorskip("pandas")
    X, _, y, _ = table("iris")
    frame = pd.DataFrame(X, columns=["length", "width", "height", "salary"])
    frame["salary"] = 1e5 + 1e4 * frame["salary"]
    clf = dp.MLPClassifier((8,), max_iter=20, random_state=0).fit(frame, y)
    findings = dp.diagnose(clf, frame, y)
    assert "'salary'" in next(f.evidence for f in findings if f.fault == "unscaled inputs")


def test_sparse_rows_give_the_findings_of_dense_rows():
    sparse = pytest.importorskip("scipy.sparse")
    net, X, _, y, _ = classifier("digits", dp.Dense(10, "relu"))
    X = np.column_stack([X, 100.0 * (y == 3)])[:, 1:]
    dense = dp.diagnose(net, X, y)
    assert dense.faults == ["unscaled inputs"] or "unscaled inputs" in dense.faults
    assert [str(f) for f in dp.diagnose(net, sparse.csr_matrix(X), y)] == [str(f) for f in dense]


def test_bad_arguments_are_named():
    net, X, _, y, _ = classifier("iris", dp.Dense(4, "relu"))
    with pytest.raises(TypeError, match="history must be"):
        dp.diagnose(net, X, y, history=[1.0])
    with pytest.raises(TypeError, match="validation must be"):
        dp.diagnose(net, X, y, validation=0.2)
    with pytest.raises(TypeError, match="model must be"):
        dp.diagnose(5, X, y)
    with pytest.raises(ModelFileError, match=r"no file 'net\.dp'"):
        dp.diagnose("net.dp", X, y)
    with pytest.raises(ValueError, match="X has 105 row"):
        dp.diagnose(net, X, y[:-1])


@pytest.mark.parametrize("solver", [dp.SGD(5.0), dp.Adam(3.0)], ids=["SGD", "Adam"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_learning_rate_that_is_far_too_high_is_the_first_finding(solver, activation):
    """The loss leaps in the first epoch; the dead or saturated units are its effect."""
    X, _, y, _ = table("digits")
    layers = [dp.Dense(32, activation), dp.Dense(16, activation), dp.Dense(10, "softmax")]
    net = dp.Network(X.shape[1], layers, loss="cross_entropy", seed=0, reduction="mean")
    history = dp.fit(net, X, y, solver=solver, max_epochs=40)
    findings = dp.diagnose(net, X, y, history)
    assert findings.faults[0] == "learning rate too high"
    assert {"dead units", "saturated units"} & set(findings.faults)


def test_large_initial_weights_are_not_a_learning_rate():
    """The loss is large, but training does not change it."""
    X, _, y, _ = table("digits")
    layers = [dp.Dense(32, "tanh"), dp.Dense(10, "softmax")]
    net = dp.Network(X.shape[1], layers, loss="cross_entropy", seed=0, reduction="mean")
    net.W[0][...] *= 100
    net.W[1][...] *= 10
    history = dp.fit(net, X, y, solver=dp.SGD(1e-5), max_epochs=10)
    assert "learning rate too high" not in dp.diagnose(net, X, y, history).faults
