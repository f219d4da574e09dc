"""Operators that look at one number at a time."""

from typing import Any

from ..namespace import namespace

GAMMA = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio, odd
MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # SplitMix64's


def relu(x: Any) -> Any:
    """y = max(x, 0); NaN stays NaN."""
    return namespace(x).maximum(x, 0)


def relu_input(y: Any, grad: Any) -> Any:
    """dx = 0 where y <= 0, else grad."""
    return namespace(y).where(y <= 0, grad.dtype.type(0), grad)


def leaky_relu(x: Any, *, negative_slope: float) -> Any:
    """y = x where x > 0, else negative_slope x."""
    return leaky_relu_input(x, x, negative_slope=negative_slope)


def leaky_relu_input(x: Any, grad: Any, *, negative_slope: float) -> Any:
    """dx = grad where x > 0, else negative_slope grad."""
    return namespace(x).where(x > 0, grad, negative_slope * grad)


def sigmoid(x: Any) -> Any:
    """y = 1 / (1 + exp(-x)), with no exponential of a positive number."""
    xp = namespace(x)
    power = xp.exp(-abs(x))
    return xp.where(x < 0, power, x.dtype.type(1)) / (1 + power)


def sigmoid_input(y: Any, grad: Any) -> Any:
    """dx = grad y (1 - y)."""
    return grad * (y * (1 - y))


def tanh(x: Any) -> Any:
    """y = tanh(x)."""
    return namespace(x).tanh(x)


def tanh_input(y: Any, grad: Any) -> Any:
    """dx = grad (1 - y y), as a product that loses no digits where y is nearly 1."""
    return grad * ((1 - y) * (1 + y))


def add(x: Any, y: Any) -> Any:
    """z = x + y."""
    return x + y


def dropout(x: Any, *, p: float, seed: int) -> Any:
    """y = x m / (1 - p): a number is kept where the upper 53 bits of its random number reach p 2**53.

    The random number of an index is SplitMix64's after as many steps from the mixed seed.
    """
    xp = namespace(x)
    key = _mixed(xp.full(1, xp.uint64(seed)))
    steps = xp.arange(1, x.size + 1, dtype="uint64")
    numbers = _mixed(key + steps * xp.uint64(GAMMA)) >> xp.uint64(11)
    kept = (numbers >= xp.uint64(-int(-p * 2**53 // 1))).reshape(x.shape)
    one = x.dtype.type
    return x * xp.where(kept, one(1 / (1 - p) if p < 1 else 0), one(0))


def _mixed(z: Any) -> Any:
    """SplitMix64's mixing function of 64-bit words."""
    xp = namespace(z)
    for shift, factor in MIXERS:
        z = (z ^ (z >> xp.uint64(shift))) * xp.uint64(factor)
    return z ^ (z >> xp.uint64(31))
