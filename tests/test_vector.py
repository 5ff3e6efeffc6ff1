"""The scalar functions of compiled code: accuracy, edge cases, and vectorised loops."""

import functools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

numba = pytest.importorskip("numba")

from deltaprop.engines.fused.lowlevel import FAST  # noqa: E402
from deltaprop.engines.fused.vector import namespace  # noqa: E402

INF, NAN = np.inf, np.nan
DTYPES = ["float32", "float64"]
WIDE = {  # oracles for float32, in float64
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "erf": special.erf,
    "expit": special.expit,
    "softplus": lambda x: np.logaddexp(x, 0),
}
# f(-inf), f(-1), f(-0), f(0), f(inf); None: not tested
EDGES = {
    "exp": (0, None, 1, 1, INF),
    "expm1": (-1, None, -0.0, 0.0, INF),
    "log": (NAN, NAN, -INF, -INF, INF),
    "log1p": (NAN, -INF, -0.0, 0.0, INF),
    "tanh": (-1, None, -0.0, 0.0, 1),
    "erf": (-1, None, -0.0, 0.0, 1),
    "expit": (0, None, 0.5, 0.5, 1),
    "softplus": (0, None, None, None, INF),
}
every = pytest.mark.parametrize("name", list(WIDE))


@functools.cache
def loop(name, dtype):
    """Return a loop over the function, compiled as the engine compiles its blocks."""
    f = getattr(namespace(dtype), name)

    @numba.njit(fastmath=FAST, error_model="numpy")
    def run(x, out):
        for i in range(x.size):
            out[i] = f(x[i])

    return run


def applied(name, x):
    out = np.empty_like(x)
    loop(name, x.dtype.name)(x, out)
    return out


def samples(dtype, n):
    """Return random bits, exponents near those of 1, and numbers where most functions bend."""
    rng = np.random.RandomState(0)
    info = np.finfo(dtype)
    bits = rng.randint(0, info.max.view(f"i{info.bits // 8}"), n, f"i{info.bits // 8}")
    size = np.r_[bits.view(dtype), 2.0 ** rng.uniform(-info.nmant, 11, n), rng.uniform(0, 4, n)]
    return np.r_[size, -size].astype(dtype)


def ulps(got, want, wide):
    """Return |got - want| in units in the last place of `want`; `wide` has more digits of it."""
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(got.astype(wide.dtype) - wide) / np.spacing(np.abs(want)).astype(wide.dtype)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    return np.where(same, 0, error).astype(float)


def wide_ulps(name, x):
    """Return the errors in float32, from float64."""
    with np.errstate(all="ignore"):
        wide = WIDE[name](x.astype(np.float64))
        return ulps(applied(name, x), wide.astype(x.dtype), wide)


def exact_ulps(name, x):
    """Return the errors in float64, from mpmath."""
    mp = pytest.importorskip("mpmath").mp
    others = {
        "expit": lambda v: 1 / (1 + mp.exp(-v)),
        "softplus": lambda v: mp.log1p(mp.exp(v)) if v < 99 else v + mp.exp(-v),
    }
    f = others.get(name) or getattr(mp, name)
    with mp.workprec(120):
        exact = np.array([f(mp.mpf(v)) for v in x.tolist()], object)
        return ulps(applied(name, x), np.array([float(v) for v in exact]), exact)


@every
def test_float32_is_within_2_ulp(name):
    x = samples("float32", 200_000)
    error = wide_ulps(name, x)
    worst = np.nanargmax(error)
    assert not np.isnan(error).any()
    assert error[worst] <= 2, x[worst]


@every
def test_float64_is_within_2_ulp(name):
    x = samples("float64", 500)
    x = x[np.abs(x) < 1e6] if name != "log" else x[x > 0]  # see test_edges for larger ones
    if name == "log1p":
        x = x[x > -1]
    error = exact_ulps(name, x)
    assert error.max() <= 2, x[error.argmax()]


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_edges(name, dtype):
    x = np.array([-INF, -1, -0.0, 0.0, INF, NAN], dtype)
    for at, got, want in zip(x, applied(name, x), (*EDGES[name], NAN), strict=True):
        if want is not None:
            np.testing.assert_array_equal(got, np.array(want, dtype), str(at))
            assert np.isnan(want) or np.signbit(got) == np.signbit(want), at


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_smallest_and_largest_numbers(dtype):
    info = np.finfo(dtype)
    x = np.array([info.smallest_subnormal, info.smallest_normal / 3, info.max], dtype)
    for name in ("log", "log1p", "expm1", "tanh", "softplus"):
        with np.errstate(over="ignore"):
            np.testing.assert_array_max_ulp(applied(name, x), WIDE[name](x), 2, dtype)
    least = np.log(x[0])  # exp to a subnormal number, to 0 and to inf
    with np.errstate(over="ignore", under="ignore"):
        ends = np.array([least * 0.99, least * 1.01, np.log(info.max) * 1.001], dtype)
        got, want = applied("exp", ends), np.exp(ends)
    assert abs(got[0] - want[0]) <= info.smallest_subnormal
    assert got[1:].tolist() == [0, INF]


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_loops_are_vector_instructions_of_their_dtype(name, dtype):
    applied(name, np.ones(1, dtype))
    (llvm,) = loop(name, dtype).inspect_llvm().values()
    scalar = {"float32": "float", "float64": "double"}[dtype]
    assert re.search(rf"= f(mul|add)\b.* <\d+ x {scalar}>", llvm)
    if dtype == "float32":
        assert "double" not in llvm


@settings(max_examples=50)
@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_any_float32(x):
    for name in WIDE:
        assert wide_ulps(name, np.array(x, np.float32)).max() <= 2


@settings(max_examples=50)
@given(st.lists(st.floats(-700, 700), min_size=1, max_size=40))
def test_identities(x):
    x = np.array(x)
    f = {name: functools.partial(applied, name) for name in WIDE}
    for name in ("tanh", "erf"):
        np.testing.assert_array_equal(f[name](-x), -f[name](x))
    np.testing.assert_allclose(f["expit"](x) + f["expit"](-x), 1, rtol=1e-15)
    np.testing.assert_allclose(f["log"](f["exp"](x)), x, rtol=1e-15, atol=3e-16)
    np.testing.assert_allclose(f["log1p"](f["expm1"](np.abs(x))), np.abs(x), rtol=1e-15)
    np.testing.assert_allclose(f["softplus"](x) - f["softplus"](-x), x, rtol=1e-15, atol=1e-15)


# ---------------------------------------------------------------- sin and cos


@pytest.mark.parametrize("name", ["sin", "cos"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sin_and_cos_are_within_2_ulp_up_to_a_million(name, dtype):
    rng = np.random.default_rng(0)
    near = np.pi / 2 * np.r_[rng.integers(-600_000, 600_000, 500), np.arange(-20, 21)]
    x = np.r_[
        rng.uniform(-4, 4, 2000), rng.uniform(-1e6, 1e6, 2000), 2.0 ** rng.uniform(-60, 19, 1000),
        near, 0.0, -0.0,
    ].astype(dtype)  # fmt: skip
    mp = pytest.importorskip("mpmath").mp
    with mp.workprec(160):
        exact = np.array([getattr(mp, name)(mp.mpf(v)) for v in x.tolist()], object)
        want = np.array([float(v) for v in exact]).astype(dtype)
        got = applied(name, x).astype(np.float64)
        error = [
            abs(mp.mpf(a) - e) / mp.mpf(float(np.spacing(abs(w))))
            for a, e, w in zip(got.tolist(), exact, want, strict=True)
        ]
    assert max(error) <= 2, x[int(np.argmax(error))]


@pytest.mark.parametrize("name", ["sin", "cos"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sin_and_cos_are_bounded_everywhere(name, dtype):
    values = applied(name, samples(dtype, 5000))
    assert np.abs(values).max() <= 1 + np.finfo(dtype).eps
    edges = applied(name, np.array([INF, -INF, NAN], dtype))
    assert np.isnan(edges).all()


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_loops_of_sin_and_cos_are_vector_instructions(name):
    for dtype, scalar in (("float32", "float"), ("float64", "double")):
        applied(name, np.ones(1, dtype))
        (llvm,) = loop(name, dtype).inspect_llvm().values()
        assert re.search(rf"= f(mul|add)\b.* <\d+ x {scalar}>", llvm)
