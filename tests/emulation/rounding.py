"""Floating results rounded as an instruction says: float32 ones come from exact products and sums in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

HALF, BELOW = np.uint64(1 << 28), np.uint64((1 << 29) - 1)  # of the bits that float32 lacks of a float64
LEAST, ONE = np.uint32(0x00FFFFFF), np.uint32(1)
SPLIT = float(2**27 + 1)


def two_sum(first: Any, second: Any) -> tuple[Any, Any]:
    """The sum of float64 numbers, and what rounding took from it."""
    total = first + second
    part = total - first
    return total, (first - (total - part)) + (second - part)


def two_product(first: Any, second: Any) -> tuple[Any, Any]:
    """The product of float64 numbers, and what rounding took from it."""
    product = first * second
    scaled = SPLIT * first
    upper = scaled - (scaled - first)
    lower = first - upper
    scaled = SPLIT * second
    top = scaled - (scaled - second)
    rest = second - top
    return product, ((upper * top - product) + upper * rest + lower * top) + lower * rest


def odd_sum(first: Any, second: Any) -> Any:
    """A float64 sum rounded to odd: what it is rounded to next comes out as if the sum had been exact."""
    total, error = two_sum(first, second)
    bits = np.asarray(total).view(np.int64)
    inexact = (error != 0) & np.isfinite(error) & np.isfinite(total) & (bits & 1 == 0)
    away = np.sign(error) == np.sign(total)
    return np.where(inexact, bits + np.where(away, 1, -1), bits).view(np.float64)


def to_float32(exact: Any, mode: str) -> Any:
    """Float64 numbers, rounded to odd where they were not exact, as float32 ones: rn, rz, rm (down) or rp (up)."""
    near = np.asarray(exact).astype(np.float32)
    if mode == "rn":
        return near
    return directed(near, near.astype(np.float64), exact, mode)


def directed(near: Any, value: Any, exact: Any, mode: str) -> Any:
    """The neighbour of the nearest number that a directed rounding takes: near has the value `value`."""
    down = {"rm": np.ones_like(value, bool), "rp": np.zeros_like(value, bool), "rz": exact > 0}[mode]
    low, high = near.dtype.type(-np.inf), near.dtype.type(np.inf)
    result = np.where(down & (value > exact), np.nextafter(near, low), near)
    return np.where(~down & (value < exact), np.nextafter(near, high), result)


def fma32(first: Any, second: Any, third: Any, mode: str = "rn") -> Any:
    """first * second + third of float32 numbers, rounded once."""
    product = np.multiply(first, second, dtype=np.float64)
    if mode != "rn":
        return to_float32(odd_sum(product, np.float64(third)), mode)
    total = np.asarray(product + third)
    result = np.asarray(total.astype(np.float32))
    halves = (total.view(np.uint64) & BELOW) == HALF
    if halves.any():
        result[halves] = rounded_once(halves, first, second, third)
    return result


def rounded_once(some: np.ndarray, first: Any, second: Any, third: Any) -> Any:
    """first * second + third where the float64 sum, perhaps by rounding, lies between two float32 numbers."""
    first, second, third = (np.broadcast_to(np.float64(values), some.shape)[some] for values in (first, second, third))
    return odd_sum(first * second, third).astype(np.float32)


def fma64(first: Any, second: Any, third: Any) -> Any:
    """first * second + third of float64 numbers: as good as rounded once, but for subnormal errors."""
    product, lost = two_product(np.float64(first), np.float64(second))
    total, error = two_sum(product, third)
    exact = total + (error + lost)
    return np.where(np.isfinite(exact), exact, np.float64(first) * np.float64(second) + third)


def directed64(near: Any, error: Any, mode: str) -> Any:
    """A float64 result moved to its neighbour where the rounding is directed and the error says so."""
    down = {"rm": np.ones_like(near, bool), "rp": np.zeros_like(near, bool), "rz": near > 0}[mode]
    result = np.where(down & (error < 0), np.nextafter(near, -np.inf), near)
    return np.where(~down & (error > 0), np.nextafter(near, np.inf), result)


def any_subnormal(values: Any) -> bool:
    """Whether there is one: their bits without the sign are 1 to 2^23 - 1, less one is below all others."""
    bits = np.asarray(values).view(np.uint32)
    return bool(((bits << ONE) - ONE).min() < LEAST)


def flush(values: Any) -> Any:
    """Subnormal float32 numbers as zeros of their sign."""
    values = np.asarray(values)
    if not any_subnormal(values):
        return values
    return np.where(np.abs(values) < np.float32(2.0**-126), np.copysign(np.float32(0), values), values)
