"""What the threads of a warp do together: shuffles, votes, matches, reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .batch import Batch
from .ptx import Instruction, Not, Operand, Pair
from .steps import KINDS, WARP, Lanes, Step, Where, instruction

LANE = np.arange(WARP, dtype=np.int64)
BITS = np.uint32(1) << np.arange(WARP, dtype=np.uint32)
UNDEFINED = 0xFFFFFFFF  # what a thread gets from one that takes no part


def active(batch: Batch, lanes: Lanes) -> np.ndarray:
    """Who takes part: a row for each warp."""
    mask = np.full(batch.count, lanes is None)
    if lanes is not None:
        mask[lanes] = True
    return mask.reshape(-1, WARP)


def rows(batch: Batch, value: Any) -> np.ndarray:
    """A source as a row for each warp."""
    return np.broadcast_to(value, batch.count).reshape(-1, WARP)


def predicate(batch: Batch, operand: Operand) -> Callable[[], Any]:
    """A predicate, or one that is negated."""
    if isinstance(operand, Not):
        source = batch.read(operand.operand, "pred")
        return lambda: ~source
    source = batch.read(operand, "pred")
    return lambda: source


@instruction("shfl")
def shuffle(batch: Batch, at: Instruction) -> Step:
    """shfl.sync.mode.b32 d[|p], a, b, c, members;."""
    if at.parts[1] != "sync" or at.parts[-1] != "b32":
        raise batch.unknown(at)
    mode, result = at.parts[2], at.operands[0]
    target = batch.target(result.first if isinstance(result, Pair) else result, "b32")
    inside = batch.target(result.second, "pred") if isinstance(result, Pair) else None
    source, shift, clamp = (batch.read(operand, "b32") for operand in at.operands[1:4])

    def step(where: Where, lanes: Lanes) -> None:
        by = rows(batch, shift).astype(np.int64) & 31
        limits = rows(batch, clamp).astype(np.int64)
        segment = limits >> 8 & 31
        low, high = LANE & segment, (LANE & segment) | (limits & 31 & ~segment)
        if mode == "up":
            other = LANE - by
            good = other >= high
        else:
            other = {"down": LANE + by, "bfly": LANE ^ by, "idx": low | (by & ~segment)}[mode]
            good = other <= high
        other = np.where(good, other, LANE)
        values = np.take_along_axis(rows(batch, source), other, axis=1)
        there = np.take_along_axis(active(batch, lanes), other, axis=1)
        np.copyto(target, np.where(there, values, np.uint32(UNDEFINED)).reshape(-1), where=where)
        if inside is not None:
            np.copyto(inside, good.reshape(-1), where=where)

    return step


@instruction("vote")
def vote(batch: Batch, at: Instruction) -> Step:
    """vote.sync.all/any/uni.pred p, a, members;  vote.sync.ballot.b32 d, a, members;."""
    if at.parts[1] != "sync":
        raise batch.unknown(at)
    mode, kind = at.parts[2], at.parts[-1]
    target, source = batch.target(at.operands[0], kind), predicate(batch, at.operands[1])

    def step(where: Where, lanes: Lanes) -> None:
        present = active(batch, lanes)
        yes = rows(batch, source()) & present
        every, some = (yes == present).all(axis=1), yes.any(axis=1)
        answers = {"all": every, "any": some, "uni": every | ~some}
        result = (yes * BITS).sum(axis=1, dtype=np.uint32) if mode == "ballot" else answers[mode]
        np.copyto(target, np.repeat(result, WARP), where=where)

    return step


@instruction("match")
def match(batch: Batch, at: Instruction) -> Step:
    """match.any.sync.type d, a, members;  match.all.sync.type d[|p], a, members;."""
    kind, result = at.parts[-1], at.operands[0]
    target = batch.target(result.first if isinstance(result, Pair) else result, "b32")
    agreed = batch.target(result.second, "pred") if isinstance(result, Pair) else None
    source = batch.read(at.operands[1], kind)

    def step(where: Where, lanes: Lanes) -> None:
        present, values = active(batch, lanes), rows(batch, source)
        equal = (values[:, :, None] == values[:, None, :]) & present[:, None, :]
        found = (equal * BITS).sum(axis=2, dtype=np.uint32)
        if at.parts[1] == "all":
            whole = (equal == present[:, None, :]).all(axis=2)
            found = np.where(whole, found, np.uint32(0))
            if agreed is not None:
                np.copyto(agreed, whole.reshape(-1), where=where)
        np.copyto(target, found.reshape(-1), where=where)

    return step


@instruction("redux")
def reduce(batch: Batch, at: Instruction) -> Step:
    """redux.sync.op.type d, a, members;."""
    functions: dict[str, Any] = {"add": np.add, "min": np.minimum, "max": np.maximum}
    functions |= {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}
    name, kind = at.parts[2], at.parts[-1]
    if kind[0] == "f":
        raise batch.unknown(at)
    bounds = np.iinfo(KINDS[kind])
    neutral = {"min": bounds.max, "max": bounds.min, "and": 0xFFFFFFFF}.get(name, 0)
    target, source = batch.target(at.operands[0], kind), batch.read(at.operands[1], kind)

    def step(where: Where, lanes: Lanes) -> None:
        values = np.where(active(batch, lanes), rows(batch, source), KINDS[kind](neutral))
        np.copyto(target, np.repeat(functions[name].reduce(values, axis=1, dtype=KINDS[kind]), WARP), where=where)

    return step


@instruction("activemask")
def active_mask(batch: Batch, at: Instruction) -> Step:
    """Who runs this instruction together."""
    target = batch.target(at.operands[0], "b32")

    def step(where: Where, lanes: Lanes) -> None:
        result = (active(batch, lanes) * BITS).sum(axis=1, dtype=np.uint32)
        np.copyto(target, np.repeat(result, WARP), where=where)

    return step
