"""precision="bfloat16": VDPBF16PS bit for bit, products, training, and where it is refused."""

import functools
from ctypes import CFUNCTYPE, c_int32, c_int64
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deltaprop as dp

from .processes import run_with_registers
from .trainers import run_epoch, trainer

pytest.importorskip("numba")

from deltaprop import engines
from deltaprop.data.rows import Rows
from deltaprop.engines.fused import bfloat16, constants, units
from deltaprop.engines.fused.objects import addresses

W = constants.NV * constants.VECTOR_BYTES // 4
LEAST = np.float32(2.0**-126)  # the smallest normal number
NATIVE = bfloat16._has_instruction()  # not when the test runs: some replace it
WAYS = [
    pytest.param(False, marks=pytest.mark.skipif(not NATIVE, reason="no AVX512_BF16"), id="native"),
    pytest.param(True, id="emulated"),
]


@pytest.fixture
def emulation(monkeypatch):
    monkeypatch.setenv(bfloat16.EMULATE, "1")


# ---------------------------------------------------------------- a model in NumPy


def rounded(x):
    """The nearest bfloat16 of float32 numbers, ties to even, as float32; NaN stays NaN."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
    return np.where(np.isnan(x), np.float32(np.nan), nearest.astype(np.uint32).view(np.float32))


def flushed(x):
    return np.where(np.abs(x) < LEAST, np.copysign(np.float32(0), x), x)


def fused(x, y, total):
    """x y + total for bfloat16 x and y, rounded once.

    In float64 the product is exact. The sum is rounded to odd, after which the rounding to float32
    is that of the exact sum (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums",
    2008).
    """
    product, total = np.float64(x) * np.float64(y), np.float64(total)
    s = product + total
    part = s - product
    error = (product - (s - part)) + (total - part)
    odd = (s.view(np.int64) & 1).astype(bool)
    step = np.where((error > 0) == (s > 0), 1, -1)
    moves = np.isfinite(s) & (error != 0) & ~odd
    return np.where(moves, s.view(np.int64) + step, s.view(np.int64)).view(np.float64)


def multiply_add(x, y, total):
    """One of the two steps of VDPBF16PS; it flushes what is tiny before its exponent is limited."""
    x, y, total = flushed(x), flushed(y), flushed(total)
    exact = fused(x, y, total)
    limit = float(LEAST) - 2.0**-151  # half a unit of the last place below it
    tiny = (np.abs(exact) < limit) & (exact != 0)
    return np.where(tiny, np.copysign(0.0, exact), exact).astype(np.float32)


def modelled(A, B, C):
    """C + A B: pairs of k, the odd one first, in blocks of KC pairs that are added to C."""
    K = A.shape[1]
    if K % 2:
        A, B = np.pad(A, ((0, 0), (0, 1))), np.pad(B, ((0, 1), (0, 0)))
    A, B = rounded(A), rounded(B)
    for block in range(0, K, 2 * constants.KC):
        total = np.zeros_like(C)
        for k in range(block, min(block + 2 * constants.KC, K), 2):
            for each in (k + 1, k):
                total = multiply_add(A[:, each, None], B[each], total)
        C = C + total
    return C


# ---------------------------------------------------------------- the compiled products


@functools.cache
def entry(name, emulated):
    n = {"rows_times": 12, "columns_times": 12}.get(name, 7)
    kind = CFUNCTYPE(c_int32, *[c_int64] * (2 + n))
    return kind(addresses(units.bfloat16_products(emulated))[name])


def call(name, emulated, *arguments):
    error = np.zeros(2, np.int64)
    given = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
    entry(name, emulated)(error.ctypes.data, error.ctypes.data + 8, *given)


def panels(B, emulated, cuts=(), transposed=False):
    """B in panels, which are written in parts."""
    K, N = B.shape
    rows, columns = (N, K) if transposed else (K, N)
    to = np.full((-(-columns // W), (rows + 1) // 2, W), -1, np.int32)  # pairs of NaN
    name = "to_panels_of_transpose" if transposed else "to_panels"
    ends = sorted({0, *cuts, K})
    for low, high in pairwise(ends):
        call(name, emulated, B, N, to, rows * W, low, high, K)
    return to


def product(A, B, C, emulated, transposed=False):
    """C + A B by the compiled product."""
    (M, N), K, C = C.shape, len(B), C.copy()
    stored = np.ascontiguousarray(A.T if transposed else A)
    # Up to 16 numbers behind the end of A are read, as in the working memory.
    A_at = np.concatenate([stored.ravel(), np.full(16, np.nan, np.float32)])
    room = np.full(constants.ROOM + 100, np.nan, np.float32)
    call(
        "columns_times" if transposed else "rows_times", emulated, A_at, stored.shape[1],
        panels(B, emulated), W, K * W, C, N, M, N, K, 1, room,
    )  # fmt: skip
    assert np.isnan(room[constants.ROOM :]).all()
    return C


def assert_bits(found, expected):
    """Equal bit for bit, apart from the payload of NaN."""
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), nan)
    found, expected = (np.where(nan, np.float32(0), x).view(np.uint32) for x in (found, expected))
    np.testing.assert_array_equal(found, expected)


TIES = np.array([0x3F808000, 0x3F818000, 0xBF808000, 0xBF818000], np.uint32).view(np.float32)
OTHER = np.array([0x7FFFFFFF, 0x7F800001, 0xFFFFFFFF, 0xFF800001], np.uint32).view(
    np.float32
)  # NaN
SPECIAL = np.float32([0, -0.0, 1e-40, -1e-39, LEAST, np.inf, -np.inf, np.nan, 3e38])


def any_floats(rng, *shape):
    """Numbers of all sizes, with zeros, subnormals, infinities, NaN, and ties of the rounding."""
    x = rng.integers(0, 2**32, shape, np.uint32).view(np.float32)
    special = np.concatenate([TIES, OTHER, SPECIAL]).view(np.uint32)
    drawn = rng.choice(special, shape).view(np.float32)
    return np.where(rng.random(shape) < 0.1, drawn, x)


def moderate(rng, *shape):
    """Numbers of similar sizes, so that no sum is infinite, with ties of the rounding."""
    x = rng.standard_normal(shape, np.float32)
    return np.where(rng.random(shape) < 0.1, rng.choice(TIES, shape), x)


def near_the_least(rng, *shape):
    """Numbers whose products and sums are close to the smallest normal number."""
    exponents = rng.integers(-70, -56, shape)
    return (rng.uniform(-2, 2, shape) * 2.0**exponents).astype(np.float32)


@pytest.mark.parametrize("emulated", WAYS)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("draw", [any_floats, moderate, near_the_least])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_every_bit_is_that_of_the_instruction(draw, transposed, emulated):
    rng = np.random.default_rng(0)
    for K in (1, 2, 3, 4, 9, 37):
        A, B = draw(rng, 150, K), draw(rng, K, 70)
        C = np.zeros((150, 70), np.float32)
        assert_bits(product(A, B, C, emulated, transposed), modelled(A, B, C))


@pytest.mark.parametrize("emulated", WAYS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_sum_is_flushed_if_it_is_tiny_before_its_exponent_is_limited(sign, emulated):
    """2⁻¹²⁶ minus 0.75 units of a last place with unlimited exponents would round to 2⁻¹²⁶."""
    parts = np.array([0.25, 0.5, 0.625, 0.75, 0.875, 1.0, 1.5, 2.0], np.float32) * 2.0**-70
    A = np.array([[sign * 2.0**-80, sign * 2.0**-80]], np.float32)
    for part in parts.astype(np.float32):
        B = np.array([[-part], [2.0**-46]], np.float32)
        found = product(A, B, np.zeros((1, 1), np.float32), emulated)
        kept = sign * LEAST if part * 2.0**70 <= 0.5 else np.float32(0)
        assert_bits(found, np.full((1, 1), kept))


@pytest.mark.parametrize("emulated", WAYS)
def test_factors_are_rounded_as_ml_dtypes_rounds(emulated):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    A = any_floats(np.random.default_rng(1), 4000, 1)
    A = np.concatenate([TIES, A[np.abs(A) >= LEAST]])[:, None]  # without NaN
    expected = A.astype(ml_dtypes.bfloat16).astype(np.float32)
    one = np.ones((1, 1), np.float32)
    assert_bits(product(A, one, np.zeros_like(A), emulated), expected)
    row = np.ascontiguousarray(A.T)
    assert_bits(product(one, row, np.zeros_like(row), emulated), expected.T)


@settings(deadline=None, max_examples=100)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 70), st.integers(1, 60)),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_any_small_product(shape, transposed, emulated):
    check(shape, transposed, emulated or not NATIVE)


@pytest.mark.parametrize("emulated", WAYS)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("odd", [0, 1])
def test_products_of_several_blocks(odd, transposed, emulated):
    """Several blocks of rows and of k, of which the last ones are incomplete or complete."""
    M = 2 * constants.MC + (7 if odd else 0)
    check((M, 3 * W + 1, 4 * constants.KC + odd), transposed, emulated)


def check(shape, transposed, emulated):
    M, N, K = shape
    rng = np.random.default_rng(M * N + K)
    A, B, C = (rng.standard_normal(s, np.float32) for s in ((M, K), (K, N), (M, N)))
    found = product(A, B, C, emulated, transposed)
    exact = np.float64(rounded(A)) @ np.float64(rounded(B)) + C
    bound = np.finfo(np.float32).eps * (np.abs(rounded(A)) @ np.abs(rounded(B)) + np.abs(C) + 1)
    assert (np.abs(found - exact) <= bound * (K + 2)).all()


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 20), st.integers(1, 70), st.sets(st.integers(1, 19)), st.booleans())
def test_panels_do_not_depend_on_who_writes_which_rows(K, N, cuts, transposed):
    emulated = not NATIVE
    B = np.random.default_rng(K).standard_normal((K, N), np.float32)
    whole = panels(B, emulated, (), transposed)
    parts = panels(B, emulated, [cut for cut in cuts if cut < K], transposed)
    np.testing.assert_array_equal(parts, whole)
    columns = B.T if transposed else B
    even, odd = rounded(columns[::2]), rounded(columns[1::2])
    words = whole.swapaxes(0, 1).reshape(whole.shape[1], -1)[:, : columns.shape[1]]
    np.testing.assert_array_equal((words << 16).view(np.float32), even)
    upper = (words & np.int32(-65536)).view(np.float32)
    np.testing.assert_array_equal(upper[: len(odd)], odd)
    assert (upper[len(odd) :] == 0).all()


@pytest.mark.parametrize("transposed", [False, True])
def test_results_are_bit_equal_for_any_division_of_the_rows(transposed):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3 * constants.MR + 5, 500), np.float32)
    B, C = rng.standard_normal((500, 45), np.float32), np.zeros((len(A), 45), np.float32)
    whole = product(A, B, C, not NATIVE, transposed)
    for at in range(1, len(A)):
        parts = [product(rows, B, C[: len(rows)], not NATIVE, transposed)
                 for rows in (A[:at], A[at:])]  # fmt: skip
        np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.slow
@pytest.mark.parametrize("registers", [(32, 6, 2), (16, 6, 4), (16, 6, 2)])
def test_on_registers_of_other_processors(registers, tmp_path):
    """The emulated products are correct if the kernel assumes other registers."""
    run_with_registers(
        __file__, registers, tmp_path, "bfloat16._has_instruction = lambda: False",
        "-m", "not slow", "-k", "every_bit or product or panels",
    )  # fmt: skip


# ---------------------------------------------------------------- training

rng = np.random.RandomState(0)
X, Y = rng.randn(605, 41).astype("float32"), rng.randint(0, 3, 605)
FUSED = {"engine": "fused", "precision": "bfloat16"}


def network(D=41, hidden=(121, 91), dtype="float32", **layers):
    return dp.Network(
        D, [*(dp.Dense(H, "tanh", **layers) for H in hidden), dp.Dense(3, "softmax")],
        loss="cross_entropy", reduction="mean", dtype=dtype, seed=0,
    )  # fmt: skip


def test_the_gradient_is_that_of_the_equations_up_to_the_rounding_of_factors(emulation):
    net = network()
    loss, g = engines.get("fused", 2, precision="bfloat16").objective(net, Rows(X, Y, None))()
    expected = net.gradient(X, Y).flat
    assert loss == pytest.approx(net.loss(X, Y), rel=2e-3)
    assert np.linalg.norm(g - expected) < 0.01 * np.linalg.norm(expected)
    assert not np.allclose(g, expected, rtol=1e-4, atol=1e-9)  # the factors are rounded


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_training_reaches_the_loss_of_float32(emulation, dropout):
    losses = []
    labels = (X[:, :3] + 0.5 * X[:, 3:6]).argmax(axis=1)
    for precision in (None, "bfloat16"):
        net = network(dropout=dropout)
        history = dp.fit(
            net, X, labels, batch_size=151, max_epochs=15, engine="fused", precision=precision
        )
        losses.append(history.loss_curve)
    assert losses[1][-1] < 0.5 * losses[1][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.03)


def test_the_number_of_threads_does_not_matter_where_it_is_asked_not_to(emulation):
    found = []
    for n_threads in (1, 2, 3, 5):
        net = network()
        one = trainer(
            engines.get("fused", n_threads, True, "bfloat16"), net, X, Y, solver=dp.Adam(0.01),
            batch_size=301, clip_norm=1.0,
        )  # fmt: skip
        assert one._frame.room.n_threads == n_threads
        losses = [run_epoch(one, None, np.full(3, 0.01)) for _ in range(2)]
        found.append((net.theta.tobytes(), losses))
    assert all(each == found[0] for each in found)


@pytest.mark.skipif(not NATIVE, reason="no AVX512_BF16")
@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_emulation_trains_to_the_same_bits(monkeypatch, n_threads):
    thetas = []
    for emulated in ("0", "1"):
        monkeypatch.setenv(bfloat16.EMULATE, emulated)
        net = network()
        dp.fit(net, X, Y, batch_size=203, max_epochs=2, n_threads=n_threads, **FUSED)
        thetas.append(net.theta.tobytes())
    assert thetas[0] == thetas[1]


def test_an_odd_batch_does_not_read_what_a_larger_one_left_behind(emulation):
    """The last pair of an odd number of rows has a 0, where an earlier batch had a NaN."""
    net = network()
    one = trainer(
        engines.get("fused", 1, precision="bfloat16"), net, X[:303], Y[:303], solver=dp.SGD(0.1),
        batch_size=202,
    )  # fmt: skip
    start = net.theta.copy()
    expected = run_epoch(one, None, np.full(2, 0.0))
    net.theta[:] = np.nan
    run_epoch(one, None, np.full(2, 0.0))
    net.theta[:] = start
    for part in one._state.solver_state:
        part[:] = 0
    assert run_epoch(one, None, np.full(2, 0.0)) == expected
    assert np.isfinite(net.theta).all()


def test_small_networks_and_sparse_rows_stay_in_float32(emulation):
    """Networks that are stored by unit entirely, and the first layer of sparse rows."""
    import scipy.sparse

    thetas = []
    for precision in (None, "bfloat16"):
        net = network(hidden=(10,))
        dp.fit(net, X, Y, batch_size=50, max_epochs=2, engine="fused", precision=precision)
        thetas.append(net.theta.tobytes())
    assert thetas[0] == thetas[1]
    sparse = scipy.sparse.random(400, 300, 0.05, "csr", "float32", random_state=0)
    losses = []
    for precision in (None, "bfloat16"):
        net = network(300)
        history = dp.fit(net, sparse, Y[:400], batch_size=101, max_epochs=3, engine="fused",
                         precision=precision)  # fmt: skip
        losses.append(history.loss_curve)
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
    assert losses[1] != losses[0]


def test_estimators_pass_it_on(emulation):
    models = [
        dp.MLPClassifier((60, 60), max_iter=3, random_state=0, engine="fused", precision=precision)
        for precision in (None, "bfloat16")
    ]
    curves = [np.array(model.fit(X, Y).loss_curve_) for model in models]
    np.testing.assert_allclose(*curves, rtol=0.02)
    assert (curves[0] != curves[1]).any()


def test_auto_waits_for_the_compiler_and_computes_the_same(emulation):
    thetas = []
    for engine in ("auto", "fused"):
        net = network()
        dp.fit(net, X, Y, max_epochs=1, engine=engine, precision="bfloat16")
        thetas.append(net.theta.tobytes())
    assert thetas[0] == thetas[1]


# ---------------------------------------------------------------- refused


def test_a_processor_without_the_instruction_is_refused(monkeypatch):
    monkeypatch.delenv(bfloat16.EMULATE, raising=False)
    monkeypatch.setattr(bfloat16, "_has_instruction", lambda: False)
    with pytest.raises(ValueError, match="needs a processor with AVX512_BF16 instructions"):
        dp.fit(network(), X, Y, precision="bfloat16")
    with pytest.raises(ValueError, match="needs a processor with AVX512_BF16 instructions"):
        dp.MLPClassifier(precision="bfloat16").fit(X, Y)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"precision": "float16"}, "precision must be None or 'bfloat16', got 'float16'"),
        (
            {"precision": "bfloat16", "engine": "reference"},
            "precision must be None for engine='reference', got 'bfloat16'",
        ),
        ({"precision": "bfloat16", "engine": "xla"}, r"deltaprop\.Xla\(dtype='bfloat16'\)"),
        ({"precision": "bfloat16", "engine": dp.Xla()}, r"deltaprop\.Xla\(dtype='bfloat16'\)"),
    ],
)
def test_what_cannot_be_done_is_refused(emulation, given, message):
    with pytest.raises(ValueError, match=message):
        dp.fit(network(), X, Y, max_epochs=1, **given)


@pytest.mark.parametrize("solver", [dp.Adam(), dp.LBFGS()])
def test_float64_networks_are_refused(emulation, solver):
    with pytest.raises(ValueError, match="needs a network with dtype='float32', got 'float64'"):
        dp.fit(network(dtype="float64"), X, Y, solver=solver, precision="bfloat16")


def test_a_checkpoint_of_another_precision_continues_with_a_warning(emulation, tmp_path):
    common = {"checkpoint": str(tmp_path), "engine": "fused", "n_threads": 1, "patience": np.inf}
    dp.fit(network(), X, Y, max_epochs=2, **common)
    message = "engine is fused with bfloat16, was fused: results agree up to rounding"
    with pytest.warns(UserWarning, match=message):
        dp.fit(network(), X, Y, max_epochs=3, precision="bfloat16", **common)
