"""Bits: fields, permutations, counts, and logic of three."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arithmetic import simple
from .batch import Batch
from .ptx import SIZES, Constant, Instruction
from .steps import Step, instruction

U32, U64 = np.uint32, np.uint64


def unsigned(kind: str) -> str:
    """The unsigned kind of the same width."""
    return f"u{8 * SIZES[kind]}"


@instruction("popc")
def population(batch: Batch, at: Instruction) -> Step:
    """How many bits are set."""
    return counted(batch, at, np.bitwise_count)


def counted(batch: Batch, at: Instruction, function: Any) -> Step:
    """A 32-bit number made of the bits of a wider or equal one."""
    target = batch.target(at.operands[0], "u32")
    source = batch.read(at.operands[1], unsigned(at.parts[-1]))
    return lambda where, _: np.copyto(target, function(source), where=where, casting="unsafe")


def highest(values: Any) -> Any:
    """The place of the highest bit that is set, -1 of 0."""
    values = np.asarray(values)
    result = np.full(values.shape, -1, np.int64)
    for step in (32, 16, 8, 4, 2, 1):
        if step < 8 * values.dtype.itemsize:
            upper = values >> values.dtype.type(step)
            found = upper != 0
            values = np.where(found, upper, values)
            result += step * found
    return result + (values != 0)


@instruction("clz")
def leading_zeros(batch: Batch, at: Instruction) -> Step:
    """How many bits above the highest that is set."""
    return counted(batch, at, lambda values: 8 * SIZES[at.parts[-1]] - 1 - highest(values))


@instruction("bfind")
def find(batch: Batch, at: Instruction) -> Step:
    """The place of the highest bit that is not the sign's."""
    kind = at.parts[-1]
    width = 8 * SIZES[kind]

    def compute(values: Any) -> Any:
        if kind[0] == "s":
            values = np.where(values.view(f"i{width // 8}") < 0, ~values, values)
        place = highest(values)
        if "shiftamt" in at.parts:
            place = np.where(place < 0, -1, width - 1 - place)
        return place.astype(np.int32).view(U32)

    return counted(batch, at, lambda values: compute(np.asarray(values)))


@instruction("brev")
def reverse(batch: Batch, at: Instruction) -> Step:
    """The bits from the last to the first."""

    def compute(values: Any) -> Any:
        values = np.asarray(values)
        kind, width = values.dtype.type, 8 * values.dtype.itemsize
        for step, mask in ((1, 0x5555), (2, 0x3333), (4, 0x0F0F), (8, 0x00FF)):
            every = kind(int(f"{mask:04x}" * (width // 16), 16))
            values = ((values >> kind(step)) & every) | ((values & every) << kind(step))
        return halves(values, width)

    def halves(values: Any, width: int) -> Any:
        pairs = np.ascontiguousarray(values).view(np.uint16).reshape(-1, width // 16)
        return np.ascontiguousarray(pairs[:, ::-1]).view(values.dtype).reshape(values.shape)

    return simple(batch, at, compute, unsigned(at.parts[-1]))


@instruction("shf")
def funnel(batch: Batch, at: Instruction) -> Step:
    """shf.l/r.clamp/wrap.b32 d, a, b, c: 64 bits b:a shifted by c."""

    def compute(low: Any, upper: Any, amount: Any) -> Any:
        by = (np.minimum(amount, U32(32)) if "clamp" in at.parts else amount & U32(31)).astype(U64)
        both = (np.asarray(upper).astype(U64) << U64(32)) | low
        return (both << by) >> U64(32) if at.parts[1] == "l" else both >> by

    target = batch.target(at.operands[0], "u32")
    sources = [batch.read(operand, "u32") for operand in at.operands[1:]]
    return lambda where, _: np.copyto(target, compute(*sources).astype(U32), where=where)


@instruction("bfe")
def extract(batch: Batch, at: Instruction) -> Step:
    """bfe d, a, place, length: a field of bits, with its sign."""
    kind = at.parts[-1]
    width = 8 * SIZES[kind]
    target, source = batch.target(at.operands[0], kind), batch.read(at.operands[1], unsigned(kind))
    places, lengths = (batch.read(operand, "u32") for operand in at.operands[2:])

    def compute() -> Any:
        place, length = (np.asarray(places) & 0xFF).astype(U64), (np.asarray(lengths) & 0xFF).astype(U64)
        values = np.asarray(source).astype(U64)
        if kind[0] == "s" and width == 32:
            values = values | np.where(values >> U64(31) != 0, U64(0xFFFFFFFF00000000), U64(0))
        sign = U64(0) if kind[0] == "u" else np.where(values >> U64(63) != 0, ~U64(0), U64(0))
        field = np.where(place > 63, sign, values >> np.minimum(place, U64(63)))
        if kind[0] == "s" and width == 64:
            field = np.where(
                place > 63, sign, (values.view(np.int64) >> np.minimum(place, U64(63)).view(np.int64)).view(U64)
            )
        kept = np.where(length > 63, ~U64(0), (U64(1) << np.minimum(length, U64(63))) - U64(1))
        result = field & kept
        if kind[0] == "s":
            top = np.minimum(place + length - U64(1), U64(width - 1))
            negative = ((values >> top) & U64(1) != 0) & (length > 0)
            result = np.where(negative, result | ~kept, result)
        return np.where(length == 0, U64(0), result)

    return lambda where, _: np.copyto(target, compute(), where=where, casting="unsafe")


@instruction("bfi")
def insert(batch: Batch, at: Instruction) -> Step:
    """bfi d, a, b, place, length: the low bits of a put into b."""
    kind = unsigned(at.parts[-1])
    width = 8 * SIZES[kind]
    target = batch.target(at.operands[0], kind)
    first, second = (batch.read(operand, kind) for operand in at.operands[1:3])
    places, lengths = (batch.read(operand, "u32") for operand in at.operands[3:])

    def compute() -> Any:
        place, length = (np.asarray(places) & 0xFF).astype(U64), (np.asarray(lengths) & 0xFF).astype(U64)
        kept = np.where(length > 63, ~U64(0), (U64(1) << np.minimum(length, U64(63))) - U64(1))
        mask = np.where(place >= width, U64(0), kept << np.minimum(place, U64(63)))
        moved = np.asarray(first).astype(U64) << np.minimum(place, U64(63))
        return (moved & mask) | (np.asarray(second).astype(U64) & ~mask)

    return lambda where, _: np.copyto(target, compute(), where=where, casting="unsafe")


@instruction("bmsk", "szext", "fns")
def unusual(batch: Batch, at: Instruction) -> Step:
    """What NVRTC does not write of itself."""
    raise batch.unknown(at)


@instruction("prmt")
def permute(batch: Batch, at: Instruction) -> Step:
    """prmt.b32 d, a, b, c: bytes of b:a that the nibbles of c choose; their signs where a nibble's top bit is set."""
    if at.parts[1:] != ("b32",):
        raise batch.unknown(at)

    def compute(low: Any, upper: Any, choice: Any) -> Any:
        both, wide = (np.asarray(upper).astype(U64) << U64(32)) | low, np.asarray(choice).astype(U64)
        result = U64(0)
        for byte in range(4):
            nibble = wide >> U64(4 * byte)
            chosen = (both >> (U64(8) * (nibble & U64(7)))) & U64(0xFF)
            signs = np.where(chosen >> U64(7) != 0, U64(0xFF), U64(0))
            result = result | (np.where(nibble & U64(8) != 0, signs, chosen) << U64(8 * byte))
        return result

    return simple(batch, at, compute, "u32")


@instruction("lop3")
def logic_of_three(batch: Batch, at: Instruction) -> Step:
    """lop3.b32 d, a, b, c, table: any function of three bits."""
    table = at.operands[4]
    if not isinstance(table, Constant) or at.parts[1:] != ("b32",):
        raise batch.unknown(at)
    target = batch.target(at.operands[0], "u32")
    sources = [batch.read(operand, "u32") for operand in at.operands[1:4]]

    def compute() -> Any:
        result = U32(0)
        for row in range(8):
            if table.bits >> row & 1:
                terms = [source if row >> (2 - place) & 1 else ~source for place, source in enumerate(sources)]
                result = result | (terms[0] & terms[1] & terms[2])
        return result

    return lambda where, _: np.copyto(target, compute(), where=where)
