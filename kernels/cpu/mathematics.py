"""exp, log, log1p, sigmoid and tanh of vectors, within three units in the last place, for every float there is.

Each reduces its argument to a short interval around 0, where a Taylor series needs no more terms than it has digits.
"""

from math import factorial, inf, nan, sqrt
from typing import Any

import numpy as np

from .vector import Words

# By the size of a number: log(2) in two parts, the first so short that its product with an exponent is exact.
LOG2 = {4: (0.693138122558593750, 9.05800061445916e-06), 8: (6.93147180369123816490e-01, 1.90821492927058770002e-10)}
EXP_RANGE = {4: (-104.0, 89.0), 8: (-746.0, 710.0)}  # beyond which exp is 0 and infinity
NORMAL_END = {4: -88.0, 8: -709.0}  # where exp rounds to the power of 2 below the normal numbers
EXP_TERMS = {4: 7, 8: 13}  # |r|**n / n! is less than half a unit for |r| <= log(2) / 2
LOG_TERMS = {4: 4, 8: 10}  # and s**(2 n) / (2 n + 1) for |s| <= (sqrt(2) - 1) / (sqrt(2) + 1)
TANH_END = {4: -20.0, 8: -40.0}  # exp of which is nothing beside 1


def _mantissa(words: Words) -> int:
    """Bits of a number below its exponent."""
    return 23 if words.size == 4 else 52


def _bits_of(words: Words, value: float) -> int:
    return int(np.float32(value).view(np.int32) if words.size == 4 else np.float64(value).view(np.int64))


def _power_of_2(words: Words, exponent: Any) -> Any:
    """2**exponent, for integers in the range of normal numbers."""
    builder = words.builder
    biased = builder.add(exponent, words.pattern((1 << 8 * words.size - _mantissa(words) - 2) - 1))
    return builder.bitcast(builder.shl(biased, words.pattern(_mantissa(words))), words.vector)


def _polynomial(words: Words, x: Any, coefficients: list[float]) -> Any:
    """coefficients[0] + coefficients[1] x + ..."""
    value = words.constant(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = words.multiply_add(value, x, words.constant(coefficient))
    return value


def _exp_less_1(words: Words, x: Any) -> tuple[Any, Any]:
    """(p, n) with exp(x) = (1 + p) 2**n and |p| <= sqrt(2) - 1; n is an integer."""
    builder, size = words.builder, words.size
    magic = 1.5 * 2 ** _mantissa(words)  # added to a number, it leaves the nearest integer in the lowest bits
    sum_ = words.multiply_add(x, words.constant(1 / np.log(2)), words.constant(magic))
    n = builder.sub(builder.bitcast(sum_, words.bits), words.pattern(_bits_of(words, magic)))
    rounded = builder.fsub(sum_, words.constant(magic))
    high, low = LOG2[size]
    r = words.multiply_add(rounded, words.constant(-high), x)
    r = words.multiply_add(rounded, words.constant(-low), r)
    series = _polynomial(words, r, [1 / factorial(k) for k in range(2, EXP_TERMS[size] + 1)])
    return words.multiply_add(builder.fmul(r, r), series, r), n


def exp(words: Words, x: Any) -> Any:
    """exp(x)."""
    builder = words.builder
    low, high = EXP_RANGE[words.size]
    p, n = _exp_less_1(words, words.less(words.constant(high), words.greater(words.constant(low), x)))
    half = builder.ashr(n, words.pattern(1))  # in two steps: 2**n itself need not be a normal number
    value = builder.fmul(builder.fadd(p, words.constant(1.0)), _power_of_2(words, half))
    return builder.fmul(value, _power_of_2(words, builder.sub(n, half)))


def exp_of_negative(words: Words, x: Any) -> Any:
    """exp(x) for x <= 0, but 0 where it is no normal number; two thirds of the work."""
    p, n = _exp_less_1(words, words.greater(words.constant(NORMAL_END[words.size]), x))
    scale = _power_of_2(words, n)  # 0 at the end
    return words.multiply_add(p, scale, scale)


def sigmoid(words: Words, x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    builder, one = words.builder, words.constant(1.0)
    e = exp(words, builder.fneg(words.magnitude(x)))
    return builder.fdiv(builder.select(builder.fcmp_ordered("<", x, words.zero()), e, one), builder.fadd(e, one))


def tanh(words: Words, x: Any) -> Any:
    """tanh(x) = -t / (t + 2) with t = exp(-2 x) - 1, for x >= 0; odd."""
    builder = words.builder
    doubled = builder.fmul(words.magnitude(x), words.constant(-2.0))
    p, n = _exp_less_1(words, words.greater(words.constant(TANH_END[words.size]), doubled))
    scale = _power_of_2(words, n)
    t = words.multiply_add(p, scale, builder.fsub(scale, words.constant(1.0)))
    return words.with_sign(builder.fdiv(t, builder.fadd(t, words.constant(2.0))), x)


def log(words: Words, x: Any) -> Any:
    """log(x); NaN below 0.

    log(m 2**k) = k log(2) + log(1 + f), sqrt(1/2) <= m = 1 + f < sqrt(2); log(1 + f) = 2 artanh(s), s = f / (2 + f),
    arranged as in fdlibm's e_log.c, so that f itself is added last.
    """
    builder, mantissa = words.builder, _mantissa(words)
    tiny = builder.fcmp_ordered("<", x, words.constant(float(np.finfo(f"f{words.size}").smallest_normal)))
    lifted = builder.select(tiny, builder.fmul(x, words.constant(2.0 ** (mantissa + 2))), x)
    one, least = _bits_of(words, 1.0), _bits_of(words, sqrt(0.5))
    bits = builder.add(builder.bitcast(lifted, words.bits), words.pattern(one - least))
    k = builder.sub(builder.ashr(bits, words.pattern(mantissa)), words.pattern(one >> mantissa))
    k = builder.sub(k, builder.select(tiny, words.pattern(mantissa + 2), words.pattern(0)))
    m = builder.add(builder.and_(bits, words.pattern((1 << mantissa) - 1)), words.pattern(least))
    f = builder.fsub(builder.bitcast(m, words.vector), words.constant(1.0))
    s = builder.fdiv(f, builder.fadd(f, words.constant(2.0)))
    z = builder.fmul(s, s)
    series = _polynomial(words, z, [2 / (2 * n + 1) for n in range(1, LOG_TERMS[words.size] + 1)])
    half = builder.fmul(builder.fmul(f, f), words.constant(0.5))
    high, low = (words.constant(part) for part in LOG2[words.size])
    k = builder.sitofp(k, words.vector)
    rest = words.multiply_add(s, words.multiply_add(z, series, half), builder.fmul(k, low))
    value = words.multiply_add(k, high, builder.fsub(f, builder.fsub(half, rest)))
    value = builder.select(builder.fcmp_ordered("==", x, words.zero()), words.constant(-inf), value)
    value = builder.select(builder.fcmp_ordered("==", x, words.constant(inf)), x, value)
    return builder.select(builder.fcmp_unordered("<", x, words.zero()), words.constant(nan), value)


def log1p(words: Words, x: Any) -> Any:
    """log(1 + x), for 0 <= x: log(u) for the rounded u = 1 + x, and what rounding took away, over u."""
    builder = words.builder
    u = builder.fadd(x, words.constant(1.0))
    lost = builder.fsub(x, builder.fsub(u, words.constant(1.0)))
    lost = builder.select(builder.fcmp_ordered("==", u, x), words.zero(), lost)  # infinity less itself is NaN
    return builder.fadd(log(words, u), builder.fdiv(lost, u))
