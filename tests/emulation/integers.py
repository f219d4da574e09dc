"""Arithmetic of whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arithmetic import simple, ufunc
from .batch import Batch
from .faults import UnknownInstruction
from .floats import float_operation
from .ptx import SIZES, Instruction
from .steps import KINDS, Lanes, Step, Where, instruction


def wider(kind: str) -> str:
    """The kind of twice the bits."""
    return f"{kind[0]}{16 * SIZES[kind]}"


@instruction("add", "sub", "mul", "min", "max", "abs", "neg", "div", "rem", "mad", "fma")
def operation(batch: Batch, at: Instruction) -> Step:
    """Whole numbers here, floating ones in their own module."""
    if at.parts[-1][0] == "f":
        return float_operation(batch, at)
    return integer_operation(batch, at)


def integer_operation(batch: Batch, at: Instruction) -> Step:
    """add, sub, mul.lo, mul.hi, mul.wide, mad.*, min, max, abs, neg, div, rem."""
    name, kind = at.parts[0], at.parts[-1]
    if "sat" in at.parts or "cc" in at.parts:
        raise batch.unknown(at)
    plain: dict[str, Any] = {"add": np.add, "sub": np.subtract, "min": np.minimum, "max": np.maximum}
    plain |= {"abs": np.abs, "neg": np.negative}
    if name in plain:
        return ufunc(batch, at, plain[name], kind)
    if name in ("div", "rem"):
        return simple(batch, at, quotient if name == "div" else remainder, kind)
    if name == "mul" and "lo" in at.parts:
        return ufunc(batch, at, np.multiply, kind)
    return product(batch, at, kind)


def quotient(first: Any, second: Any) -> Any:
    """Towards zero; of a division by zero all bits are set, as on devices."""
    safe = np.where(second == 0, second.dtype.type(1), second)
    result = first // safe
    if first.dtype.kind == "i":
        result = result + ((result < 0) & (result * safe != first)).astype(first.dtype)
    return np.where(second == 0, ~first.dtype.type(0), result)


def remainder(first: Any, second: Any) -> Any:
    """first - quotient * second."""
    return first - quotient(first, second) * second


def high(first: Any, second: Any, kind: str) -> Any:
    """The upper half of a product."""
    if SIZES[kind] < 8:
        both = np.multiply(first, second, dtype=KINDS[wider(kind)])
        return (both >> (8 * SIZES[kind])).astype(KINDS[kind])
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a, b = np.asarray(first).view(np.uint64), np.asarray(second).view(np.uint64)
    low = (a & mask) * (b & mask)
    middle = (a >> half) * (b & mask) + (low >> half)
    other = (a & mask) * (b >> half) + (middle & mask)
    result = (a >> half) * (b >> half) + (middle >> half) + (other >> half)
    if kind[0] == "s":
        result = result - np.where(np.asarray(first) < 0, b, 0) - np.where(np.asarray(second) < 0, a, 0)
    return result.view(KINDS[kind])


def product(batch: Batch, at: Instruction, kind: str) -> Step:
    """mul.wide, mul.hi, mad.lo, mad.hi, mad.wide."""
    wide = "wide" in at.parts
    result = wider(kind) if wide else kind
    target = batch.target(at.operands[0], result)
    first, second = (batch.read(operand, kind) for operand in at.operands[1:3])
    third = batch.read(at.operands[3], result) if len(at.operands) > 3 else None
    room = batch.scratch(target.dtype)

    def step(where: Where, _: Lanes) -> None:
        if "hi" in at.parts:
            room[...] = high(first, second, kind)
        else:
            np.multiply(first, second, out=room, dtype=target.dtype, casting="unsafe")
        if third is None:
            np.copyto(target, room, where=where)
        else:
            np.add(room, third, out=target, where=where)

    if "lo" not in at.parts and "hi" not in at.parts and not wide:
        raise UnknownInstruction(at.text)
    return step


@instruction("mul24", "mad24")
def short_product(batch: Batch, at: Instruction) -> Step:
    """Of 24 bits: no compiler for present devices writes it."""
    raise batch.unknown(at)


@instruction("sad")
def difference(batch: Batch, at: Instruction) -> Step:
    """sad: c + |a - b|."""
    return simple(batch, at, lambda a, b, c: c + np.where(a > b, a - b, b - a), at.parts[-1])
