"""Integers, comparisons, choices and moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .batch import Batch
from .ptx import SIZES, Instruction, Pair, Register, Sink, Vector
from .rounding import flush
from .steps import Lanes, Step, Where, instruction

WIDER = {"16": "32", "32": "64"}


def simple(batch: Batch, at: Instruction, function: Callable[..., Any], kind: str, result: str = "") -> Step:
    """A step of a function of whole arrays that has no place to write to itself."""
    target = batch.target(at.operands[0], result or kind)
    sources = [batch.read(operand, kind) for operand in at.operands[1:]]
    return lambda where, _: np.copyto(target, function(*sources), where=where, casting="unsafe")


def ufunc(batch: Batch, at: Instruction, function: Any, kind: str) -> Step:
    """A step of a ufunc, which writes its result where it belongs."""
    target = batch.target(at.operands[0], kind)
    sources = [batch.read(operand, kind) for operand in at.operands[1:]]
    return lambda where, _: function(*sources, out=target, where=where)


@instruction("and", "or", "xor", "not")
def logic(batch: Batch, at: Instruction) -> Step:
    """Bit by bit; predicates too."""
    names = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert}
    return ufunc(batch, at, names[at.parts[0]], at.parts[-1])


@instruction("shl", "shr")
def shift(batch: Batch, at: Instruction) -> Step:
    """By as many bits as the type has at most."""
    kind = at.parts[-1]
    bits = 8 * SIZES[kind]
    target, source = batch.target(at.operands[0], kind), batch.read(at.operands[1], kind)
    amount = batch.read(at.operands[2], "u32")
    move: Any = np.left_shift if at.parts[0] == "shl" else np.right_shift
    if np.ndim(amount) == 0 and amount < bits:
        by = source.dtype.type(amount)
        return lambda where, _: move(source, by, out=target, where=where)

    def step(where: Where, _: Lanes) -> None:
        by = np.minimum(amount, bits - 1).astype(source.dtype)
        moved = move(source, by)
        if kind[0] != "s" or move is np.left_shift:
            moved = np.where(amount >= bits, source.dtype.type(0), moved)
        np.copyto(target, moved, where=where)

    return step


@instruction("mov")
def move(batch: Batch, at: Instruction) -> Step:
    """mov.type d, a; with vectors it packs and unpacks."""
    kind, (target, source) = at.parts[-1], at.operands
    if isinstance(source, Vector):
        whole = batch.target(target, kind.replace("b", "u"))
        part = f"u{8 * SIZES[kind] // len(source.items)}"
        pieces = [(batch.read(item, part), whole.view(KIND[part])[place :: len(source.items)])
                  for place, item in enumerate(source.items)]  # fmt: skip

        def pack(where: Where, _: Lanes) -> None:
            values = [np.array(piece) for piece, _ in pieces]
            for value, (_, place) in zip(values, pieces, strict=True):
                np.copyto(place, value, where=where)

        return pack
    if isinstance(target, Vector):
        part = f"u{8 * SIZES[kind] // len(target.items)}"
        data = batch.read(source, kind.replace("b", "u"))
        data = np.broadcast_to(data, batch.count) if np.ndim(data) == 0 else data
        targets = [(place, batch.target(item, part)) for place, item in enumerate(target.items)
                   if not isinstance(item, Sink)]  # fmt: skip

        def unpack(where: Where, _: Lanes) -> None:
            values = np.ascontiguousarray(data).view(KIND[part]).reshape(batch.count, -1).copy()
            for place, each in targets:
                np.copyto(each, values[:, place], where=where)

        return unpack
    to, data = batch.target(target, kind), batch.read(source, kind)
    if kind == "f32" or kind == "f64":  # bits are moved, not numbers
        kind = f"u{8 * SIZES[kind]}"
        to, data = batch.target(target, kind), batch.read(source, kind) if isinstance(source, Register) else data
        data = data if isinstance(source, Register) else data.view(KIND[kind])
    return lambda where, _: np.copyto(to, data, where=where)


KIND = {f"u{8 * width}": np.dtype(f"u{width}") for width in (1, 2, 4, 8)}


@instruction("selp")
def select(batch: Batch, at: Instruction) -> Step:
    """selp.type d, a, b, p: a where p."""
    kind = at.parts[-1]
    target = batch.target(at.operands[0], kind)
    first, second = (batch.read(operand, kind) for operand in at.operands[1:3])
    condition = batch.read(at.operands[3], "pred")
    return lambda where, _: np.copyto(target, np.where(condition, first, second), where=where)


@instruction("slct")
def select_by_sign(batch: Batch, at: Instruction) -> Step:
    """slct.type.s32 d, a, b, c: a where c >= 0."""
    kind = at.parts[-2]
    target = batch.target(at.operands[0], kind)
    first, second = (batch.read(operand, kind) for operand in at.operands[1:3])
    sign = batch.read(at.operands[3], at.parts[-1])
    return lambda where, _: np.copyto(target, np.where(sign >= 0, first, second), where=where)


ORDERED: dict[str, Any] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal,
}  # fmt: skip
COMBINED = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


def comparison(name: str, floating: bool) -> Callable[[Any, Any], Any]:
    """a name b, as PTX defines it of NaN: ordered ones are false of it, those ending in u are true."""
    if name == "num":
        return lambda first, second: ~(np.isnan(first) | np.isnan(second))
    if name == "nan":
        return lambda first, second: np.isnan(first) | np.isnan(second)
    if name in ORDERED and not (floating and name == "ne"):
        compare: Callable[[Any, Any], Any] = ORDERED[name]
        return compare
    if name == "ne":
        return lambda first, second: (first != second) & ~(np.isnan(first) | np.isnan(second))
    if name == "neu":
        return ORDERED["ne"]  # type: ignore[no-any-return]
    ordered = ORDERED[name.removesuffix("u")]
    return lambda first, second: ordered(first, second) | np.isnan(first) | np.isnan(second)


@instruction("setp", "set")
def compare(batch: Batch, at: Instruction) -> Step:
    """setp.cmp[.bool].type p[|q], a, b[, c];  set.cmp[.bool].dtype.stype d, a, b[, c];."""
    kind = at.parts[-1]
    relation = comparison(at.parts[1], kind[0] == "f")
    first, second = (batch.read(operand, kind) for operand in at.operands[1:3])
    extra = at.operands[3] if len(at.operands) > 3 else None
    negated = extra is not None and not isinstance(extra, Register)
    third = batch.read(extra.operand if negated else extra, "pred") if extra is not None else None  # type: ignore
    combine = next((COMBINED[part] for part in at.parts if part in COMBINED), None)

    def result(value: Any) -> Any:
        if combine is None:
            return value
        return combine(value, ~third if negated else third)

    if at.parts[0] == "set":
        if "ftz" in at.parts:
            raise batch.unknown(at)
        target = batch.target(at.operands[0], at.parts[-2])
        true = (
            np.float32(1) if at.parts[-2] == "f32" else target.dtype.type(-1 if at.parts[-2][0] == "s" else 2**32 - 1)
        )
        return lambda where, _: np.copyto(target, np.where(result(relation(first, second)), true, 0), where=where,
                                          casting="unsafe")  # fmt: skip
    operand = at.operands[0]
    targets = (operand.first, operand.second) if isinstance(operand, Pair) else (operand,)
    places = [batch.target(each, "pred") for each in targets]

    flushes = "ftz" in at.parts

    def step(where: Where, _: Lanes) -> None:
        value = relation(flush(first), flush(second)) if flushes else relation(first, second)
        answers = [result(value), result(~value)] if len(places) == 2 else [result(value)]
        for place, answer in zip(places, answers, strict=True):
            np.copyto(place, answer, where=where)

    return step
