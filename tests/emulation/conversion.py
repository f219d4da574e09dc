"""cvt: from one kind of number to another."""

from __future__ import annotations

from typing import Any

import numpy as np

from .batch import Batch
from .floats import saturated
from .ptx import SIZES, Instruction
from .rounding import flush, to_float32
from .steps import KINDS, Step, instruction

INTEGRAL: dict[str, Any] = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


@instruction("cvt")
def convert(batch: Batch, at: Instruction) -> Step:
    """cvt[.rounding][.ftz][.sat].dtype.atype d, a;."""
    if "pack" in at.parts:
        return pack(batch, at)
    to, source = at.parts[-2:]
    if to == "tf32":
        target, values = batch.target(at.operands[0], "b32"), batch.read(at.operands[1], "b32")
        nearest = "rna" in at.parts
        return lambda where, _: np.copyto(target, tensor_float(values, nearest), where=where)
    if to not in KINDS or source not in KINDS or len(at.operands) > 2:
        raise batch.unknown(at)
    function = conversion(at, to, source)
    target, values = batch.target(at.operands[0], to), batch.read(at.operands[1], source)
    if function is None:  # a cast does it
        return lambda where, _: np.copyto(target, values, where=where, casting="unsafe")
    return lambda where, _: np.copyto(target, function(values), where=where, casting="unsafe")


def tensor_float(bits: Any, away: bool) -> Any:
    """Float32 bits cut to the 10 of tf32, to the nearest: ties away from zero (rna) or to even (rn)."""
    finite = bits & np.uint32(0x7F800000) != np.uint32(0x7F800000)
    half = np.uint32(0x1000) if away else np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))
    return np.where(finite, bits + half, bits) & np.uint32(0xFFFFE000)


def conversion(at: Instruction, to: str, source: str) -> Any:
    """What an instruction does to an array; None where a cast alone does it."""
    flags = {*at.parts}
    mode = next((part for part in at.parts if part in INTEGRAL or part in ("rn", "rz", "rm", "rp")), "")
    if source[0] == "f":
        if to[0] == "f":
            return float_to_float(flags, mode, to)
        return lambda values: float_to_integer(flush(values) if "ftz" in flags else values, INTEGRAL[mode], to)
    if to[0] == "f":
        return None if mode == "rn" else lambda values: integer_to_float(values, to, mode)
    if "sat" in flags:
        low, high = np.iinfo(KINDS[to]).min, np.iinfo(KINDS[to]).max
        bounds = np.iinfo(KINDS[source])
        return lambda values: np.clip(values, max(low, bounds.min), min(high, bounds.max))
    return lambda values: np.asarray(values).astype(KINDS[to])  # the low bits, extended as the target's kind says


def float_to_float(flags: set[str], mode: str, to: str) -> Any:
    """Wider, narrower, or to whole values."""

    def compute(values: Any) -> Any:
        if "ftz" in flags and values.dtype == np.float32:
            values = flush(values)
        if mode in INTEGRAL:
            values = INTEGRAL[mode](values)
        if to == "f32" and values.dtype == np.float64:
            values = to_float32(values, mode or "rn")
            values = flush(values) if "ftz" in flags else values
        else:
            values = np.asarray(values).astype(KINDS[to])
        return saturated(values) if "sat" in flags else values

    return compute


def float_to_integer(values: Any, whole: Any, to: str) -> Any:
    """Rounded to a whole number and cut to what the kind holds; NaN becomes 0."""
    bounds = np.iinfo(KINDS[to])
    numbers = whole(np.asarray(values).astype(np.float64))
    inside = (numbers > float(bounds.min) - 1) & (numbers < float(bounds.max) + (1 if SIZES[to] < 8 else 0))
    if SIZES[to] == 8:
        inside = (numbers >= float(bounds.min)) & (numbers < float(bounds.max))  # float(max) is one too large
    result = np.where(inside, numbers, 0).astype(KINDS[to])
    result = np.where(numbers >= float(bounds.max), KINDS[to](bounds.max), result)
    result = np.where(numbers <= float(bounds.min), KINDS[to](bounds.min), result)
    return np.where(
        np.isnan(numbers), KINDS[to](0 if SIZES[to] < 8 else 1 << 63 if to[0] == "u" else bounds.min), result
    )


def integer_to_float(values: Any, to: str, mode: str) -> Any:
    """Of a directed rounding."""
    if to != "f32":
        raise NotImplementedError("directed roundings of 64-bit integers to float64")
    values = np.asarray(values)
    near = values.astype(np.float32)
    back = near.astype(object) if values.dtype.itemsize == 8 else near.astype(np.float64)
    exact = values.astype(object) if values.dtype.itemsize == 8 else values.astype(np.float64)
    down = np.ones(near.shape, bool) if mode == "rm" else np.zeros(near.shape, bool) if mode == "rp" else exact > 0
    result = np.where(down & (back > exact), np.nextafter(near, np.float32(-np.inf)), near)
    return np.where(~down & (back < exact), np.nextafter(near, np.float32(np.inf)), result)


def pack(batch: Batch, at: Instruction) -> Step:
    """cvt.pack.sat.u8.s32.b32 d, a, b, c: two narrow numbers below those of c."""
    to, source = at.parts[3], at.parts[4]
    bits = np.uint32(8 * SIZES[to])
    bounds = np.iinfo(KINDS[to])
    target = batch.target(at.operands[0], "b32")
    first, second = (batch.read(operand, source) for operand in at.operands[1:3])
    rest = batch.read(at.operands[3], "b32") if len(at.operands) > 3 else np.uint32(0)

    def narrow(values: Any) -> Any:
        return np.clip(values, bounds.min, bounds.max).astype(KINDS[to]).view(f"u{SIZES[to]}").astype(np.uint32)

    def compute() -> Any:
        above = rest << (bits + bits) if bits < 16 else np.uint32(0)
        return above | (narrow(first) << bits) | narrow(second)

    return lambda where, _: np.copyto(target, compute(), where=where)
