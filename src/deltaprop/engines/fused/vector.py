"""exp, tanh, log, erf, … of scalars, written so that loops over them are vectorized.

`namespace(dtype)` is a module that replaces ``numpy`` when activations and losses are compiled:
they receive it as `xp` and run on scalars of that dtype.

No function branches, looks up a table or calls a library: conditional expressions evaluate both
sides, and powers of two come from shifted bits. NaN propagates. Results are within 2 ulp; those of
sin and cos only for |x| up to 10⁶.
"""

from __future__ import annotations

import functools
import math
from types import ModuleType
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from deltaprop.engines.fused.lowlevel import float32_of_bits, float64_of_bits

# Without "arcp", which would turn float32 divisions into estimates, and without "reassoc", which
# would merge the two steps of x - n ln 2. Inlined instructions keep these flags.
_scalar = functools.partial(njit, fastmath={"contract"}, error_model="numpy", forceinline=True)


@intrinsic
def bits_of(typing: Any, x: Any) -> Any:
    """The bits of a float32 as an int32, of a float64 as an int64."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(x.bitwidth))

    return getattr(types, f"int{x.bitwidth}")(x), build


# Coefficients from the constant term upwards. "exp" (float64), "erf" and "erfc" were computed with
# Remez's algorithm to minimize the relative error of the result; "exp" (float32) is Moshier's, from
# Cephes; "log" comes from Sun's fdlibm (float64) and FreeBSD's msun (float32).
FITTED: dict[str, dict[str, tuple[float, ...]]] = {
    "exp": {  # (exp(r) - 1 - r) / r², |r| <= ln(2) / 2
        "float32": (
            5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3,
            1.9875691500e-4,
        ),
        "float64": (
            0.5000000000000012740, 0.16666666666666698911, 0.041666666666515426932,
            8.333333333307281031e-3, 1.3888888947014088678e-3, 1.984126991724715453e-4,
            2.4801489943790032067e-5, 2.7557216404158805316e-6, 2.7631279878531467753e-7,
            2.5117833150019482172e-8,
        ),
    },
    "log": {  # (log(1 + f) / s - 2) / s², s = f / (2 + f), √½ <= 1 + f <= √2
        "float32": (0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841),
        "float64": (
            6.666666666666735130e-1, 3.999999999940941908e-1, 2.857142874366239149e-1,
            2.222219843214978396e-1, 1.818357216161805012e-1, 1.531383769920937332e-1,
            1.479819860510658591e-1,
        ),
    },
    "erf": {  # erf(x) / x - 1 in x², |x| below "erf_near"
        "float32": (
            0.12837914996512384471, -0.37612496460290897834, 0.11281845873931570477,
            -0.026767716173223309122, 4.9948244365356457853e-3, -5.9993759543838480604e-4,
        ),
        "float64": (
            0.12837916709551256566, -0.37612638903183519578, 0.11283791670944186245,
            -0.026866170643111695493, 5.2239776061202062309e-3, -8.5483259293908514492e-4,
            1.2055293578998993215e-4, -1.4924712339141902332e-5, 1.6447131994961795045e-6,
            -1.6206316772410775077e-7, 1.3710992561767276618e-8, -7.7794897660116292441e-10,
        ),
    },
    "erfc": {  # -log(1 - erf(x)) / x - 1 above "erf_near"
        "float32": (
            0.12864848986907492, 0.63515131416611453575, 0.10623688883781941748,
            -0.023762080112169879175, 3.6424712304511543154e-3, -3.2280795738671434736e-4,
            1.1231831652856996356e-5,
        ),
        "float64": (
            0.12837911083928882586, 0.63662025285170778588, 0.10277082634676866071,
            -0.019124962763166656238, -2.1203988628427869161e-4, 1.6926125146927976458e-3,
            -5.7466330631430112391e-4, -9.7132682468101996836e-7, 9.5484505110323965996e-5,
            -5.6037619219264719849e-5, 2.0351056467065270482e-5, -5.3851637462543005085e-6,
            1.0781120901599549297e-6, -1.6302124097581387136e-7, 1.8130377221818084444e-8,
            -1.4023845636489438962e-9, 6.7445138668175091304e-11, -1.5187747837728034864e-12,
        ),
    },
    "erf_range": {"float32": (0.92, 3.93), "float64": (1.0, 5.93)},
    "exp_range": {"float32": (-104.0, 89.0), "float64": (-746.0, 710.0)},
    "ln2": {  # in two parts; n times the first is exact
        "float32": (0.693145752, 1.42860677e-6),
        "float64": (6.93147180369123816490e-1, 1.90821492927058770002e-10),
    },
}  # fmt: skip


class Format:
    """A floating-point format: its types, its bit fields and the coefficients fitted for it."""

    def __init__(self, dtype: str) -> None:
        self.T: Any = np.dtype(dtype).type
        info = np.finfo(self.T)
        self.I = getattr(types, f"int{info.bits}")
        self.of_bits = {32: float32_of_bits, 64: float64_of_bits}[info.bits]
        self.shift, self.bias = info.nmant, info.maxexp - 1
        # Adding this number rounds to an integer, which then stands in the lowest bits.
        self.magic = self.T(1.5 * 2**info.nmant)
        self.tiny, self.eps = info.smallest_normal, info.eps
        self.fitted = {name: of[dtype] for name, of in FITTED.items()}

    def numbers(self, *values: float) -> list[Any]:
        return [self.T(value) for value in values]

    def polynomial(self, name: str) -> Any:
        """The fitted polynomial by Horner's scheme, unrolled."""
        scope = {f"c{i}": self.T(c) for i, c in enumerate(self.fitted[name])}
        terms = functools.reduce(lambda p, c: f"({p} * x + {c})", reversed(scope))
        return _scalar(eval(f"lambda x: {terms}", scope))

    def bits(self, value: Any) -> int:
        """The bits of a constant."""
        return int(self.T(value).view(np.dtype(f"i{self.T().nbytes}")))


@functools.cache
def _reduced(F: Format) -> Any:
    """exp(x) = 2^k (1 + r + q): k, r and q."""
    log2e, magic, magic_bits = F.T(1 / math.log(2)), F.magic, F.bits(F.magic)
    (head, tail), polynomial, I = F.numbers(*F.fitted["ln2"]), F.polynomial("exp"), F.I

    @_scalar
    def reduced(x):
        rounded = x * log2e + magic
        n = rounded - magic
        r = x - n * head - n * tail
        return I(bits_of(rounded) - magic_bits), r, polynomial(r) * r * r

    return reduced


@functools.cache
def _exp(F: Format) -> Any:
    T, I, of_bits, shift, bias = F.T, F.I, F.of_bits, F.shift, F.bias
    (low, high), one, reduced = F.numbers(*F.fitted["exp_range"]), F.T(1), _reduced(F)

    @_scalar
    def exp(given):
        x = T(given)
        x = low if x < low else x  # min and max would drop NaN
        x = high if x > high else x
        k, r, q = reduced(x)
        half = I(k >> 1)  # 2^k in two parts: k may lie outside the range of one exponent
        scaled = (q + r + one) * of_bits(I((half + bias) << shift))
        return scaled * of_bits(I((k - half + bias) << shift))

    return exp


def _expm1(F: Format) -> Any:
    """2 (2^(k-1) (1 + r + q) - 1/2), as 2^k itself may overflow."""
    T, I, of_bits, shift, bias = F.T, F.I, F.of_bits, F.shift, F.bias
    low, high, half, two, eps = F.numbers(-40, F.fitted["exp_range"][1], 0.5, 2, F.eps / 4)
    reduced = _reduced(F)

    @_scalar
    def expm1(given):
        given = T(given)
        x = low if given < low else given
        x = high if x > high else x
        k, r, q = reduced(x)
        scale = of_bits(I((k + bias - 1) << shift))
        value = two * ((scale * r + (scale - half)) + scale * q)
        return given if abs(given) < eps else value

    return expm1


@functools.cache
def _log_of(F: Format) -> Any:
    """n ln 2 + log(1 + f), √½ <= 1 + f <= √2."""
    (head, tail), (half, two) = F.numbers(*F.fitted["ln2"]), F.numbers(0.5, 2)
    polynomial = F.polynomial("log")

    @_scalar
    def log_of(f, n):
        s = f / (two + f)
        z = s * s
        square = half * f * f
        return n * head - ((square - (s * (square + polynomial(z) * z) + n * tail)) - f)

    return log_of


@functools.cache
def _split(F: Format) -> Any:
    """x = 2^n m, √½ <= m < √2, of a normal x > 0: n as a float, n and m."""
    I, of_bits, shift, magic = F.I, F.of_bits, F.shift, F.magic
    root, fraction = F.bits(math.sqrt(0.5)), (1 << F.shift) - 1
    to_one, bias, magic_bits = F.bits(1) - root, F.bias, F.bits(F.magic)

    @_scalar
    def split(x):
        i = I(bits_of(x) + to_one)
        n = I(I(i >> shift) - bias)
        return of_bits(I(n + magic_bits)) - magic, n, of_bits(I((i & fraction) + root))

    return split


def _log(F: Format) -> Any:
    T, split, log_of = F.T, _split(F), _log_of(F)
    zero, one, tiny, up, digits, infinity, nan = F.numbers(
        0, 1, F.tiny, 2.0 ** (F.shift + 2), F.shift + 2, math.inf, math.nan
    )

    @_scalar
    def log(given):
        x = T(given)
        n, _, m = split(x * up if x < tiny else x)
        value = log_of(m - one, n - (digits if x < tiny else zero))
        value = value if x < infinity else x
        return value if x > zero else (-infinity if x == zero else nan)

    return log


def _log1p(F: Format) -> Any:
    """log(u), u = 1 + x, with the rounding error of u added to f."""
    T, I, of_bits, shift, bias = F.T, F.I, F.of_bits, F.shift, F.bias
    zero, one, infinity, nan = F.numbers(0, 1, math.inf, math.nan)
    split, log_of = _split(F), _log_of(F)

    @_scalar
    def log1p(given):
        x = T(given)
        u = one + x
        lost = one - (u - x) if x > one else x - (u - one)
        n, k, m = split(u)
        inverse = of_bits(I(max(bias - k, 0) << shift))  # 2^-k, or 0 where nothing is lost
        value = log_of((m - one) + lost * inverse, n)
        value = value if x < infinity else x
        value = value if u > zero else (-infinity if u == zero else nan)
        return x if u == one else value

    return log1p


def _tanh(F: Format) -> Any:
    """Rational near 0 (Moshier's Cephes), 1 - 2 / (exp(2|x|) + 1) beyond 0.625."""
    T, exp = F.T, _exp(F)
    one, two, near, far = F.numbers(1, 2, 0.625, 22)
    p0, p1, p2 = F.numbers(
        -9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3
    )
    q0, q1, q2 = F.numbers(
        1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3
    )

    @_scalar
    def tanh(given):
        x = T(given)
        size = abs(x)
        size = far if size > far else size
        z = size * size
        small = size < near
        over = size * z * ((p0 * z + p1) * z + p2) if small else -two
        under = ((z + q0) * z + q1) * z + q2 if small else exp(two * size) + one
        value = (size if small else one) + over / under
        return math.copysign(value, x)

    return tanh


def _erf(F: Format) -> Any:
    """x + x P(x²) near 0, 1 - exp(-x - x Q(x)) beyond."""
    T, one, exp = F.T, F.T(1), _exp(F)
    near, far = F.numbers(*F.fitted["erf_range"])
    inner, outer = F.polynomial("erf"), F.polynomial("erfc")

    @_scalar
    def erf(given):
        x = T(given)
        size = abs(x)
        size = far if size > far else size
        value = math.copysign(one - exp(-size - size * outer(size)), x)
        return x + x * inner(x * x) if size < near else value

    return erf


def _expit(F: Format) -> Any:
    """1 - e / (1 + e) or e - e² / (1 + e), e = exp(-|x|): 1 + e only divides a small term."""
    T, zero, one, exp = F.T, F.T(0), F.T(1), _exp(F)

    @_scalar
    def expit(given):
        x = T(given)
        e = exp(-abs(x))
        top = e if x < zero else one
        return top - top * e / (one + e)

    return expit


def _softplus(F: Format) -> Any:
    """max(x, 0) + log(1 + e), e = exp(-|x|): log(1 + e) = ln 2 + log(1 + (e - 1) / 2)."""
    T, exp, log_of = F.T, _exp(F), _log_of(F)
    zero, half, one, root = F.numbers(0, 0.5, 1, math.sqrt(2) - 1)

    @_scalar
    def softplus(given):
        x = T(given)
        e = exp(-abs(x))
        large = e > root
        tail = log_of((e - one) * half if large else e, one if large else zero)
        return (zero if x < zero else x) + tail

    return softplus


def _sine(F: Format, shift: float) -> Any:
    """sin(x + π shift), shift 0 or ½: (-1)^n sin(r), where x = (n - shift) π + r, |r| <= π / 2.

    r is computed in float64, with π in three parts; the products of n with the first two are exact.
    sin(r) = r - r³ / 3! + … is a series that ends where terms are below the rounding error.
    """
    T, D = F.T, Format("float64")
    magic, inverse, shift, half, eight = D.numbers(D.magic, 1 / math.pi, shift, 0.5, 8)
    D_one, most = D.numbers(1, 1e9)
    first, second, third = D.numbers(  # of 33, 33 and 53 bits
        3.1415926534682512, 1.2154201012607932e-10, 4.044532497591901e-21
    )
    bound = T(1.5707964)
    degrees = range(1, 7 if F.T is np.float32 else 11)
    scope = {f"c{k}": T((-1.0) ** k / math.factorial(2 * k + 1)) for k in degrees}
    terms = functools.reduce(lambda p, c: f"({p} * z + {c})", reversed(scope))
    series = _scalar(eval(f"lambda z: {terms}", scope))
    double = np.float64

    @_scalar
    def sine(given):
        x = double(given)
        valid = D_one + (x - x)  # NaN for an infinite x
        x = most if x > most else x
        x = -most if x < -most else x
        n = (x * inverse + shift + magic) - magic
        m = n - shift
        r = T(((x - m * first) - m * second) - m * third)
        r = bound if r > bound else r
        r = -bound if r < -bound else r
        odd = n * half - ((n * half + magic) - magic)  # 0, or ±½
        z = r * r
        return T(valid * (D_one - eight * odd * odd)) * (r + r * z * series(z))

    return sine


@functools.cache
def namespace(dtype: str) -> ModuleType:
    """The replacement of ``numpy`` for scalars of `dtype`."""
    F = Format(dtype)
    T: Any = F.T
    zero, one, tiny = F.numbers(0, 1, F.tiny)
    functions = {
        "exp": _exp(F),
        "expm1": _expm1(F),
        "log": _log(F),
        "log1p": _log1p(F),
        "tanh": _tanh(F),
        "erf": _erf(F),
        "expit": _expit(F),
        "softplus": _softplus(F),
        "sqrt": njit(lambda x: T(math.sqrt(x))),
        "sin": _sine(F, 0.0),
        "cos": _sine(F, 0.5),
        "abs": njit(lambda x: abs(x)),
        "sign": njit(lambda x: one if x > zero else (-one if x < zero else x)),
        "where": njit(lambda condition, x, y: x if condition else y),
        "clip": njit(lambda x, low, high: min(max(x, low), high)),
        "maximum": njit(lambda x, y: max(x, y)),
        "minimum": njit(lambda x, y: min(x, y)),
        "zeros_like": njit(lambda x: zero),
        "ones_like": njit(lambda x: one),
        "full_like": njit(lambda x, value: T(value)),
        "floored": njit(lambda x: tiny if x < tiny else x),
    }
    module = ModuleType(f"deltaprop_vector_{dtype}")
    module.__dict__.update(functions)
    return module
