"""Atomic operations of whole numbers, as if the threads came one after another in their order.

Floating ones are refused: the order in which threads come is not theirs to choose, and so the sum would not be either.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .access import addresses, each_space, put, space_of
from .batch import Batch
from .memory import Space
from .ptx import SIZES, Instruction
from .steps import KINDS, Lanes, Step, instruction, spread

OPERATIONS: dict[str, Any] = {
    "add": np.add,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "exch": lambda old, new: new,
    "inc": lambda old, new: np.where(old >= new, old.dtype.type(0), old + old.dtype.type(1)),
    "dec": lambda old, new: np.where((old == 0) | (old > new), new, old - old.dtype.type(1)),
}


@instruction("atom", "red")
def atomic(batch: Batch, at: Instruction) -> Step:
    """atom.space.op.type d, [a], b[, c];  red.space.op.type [a], b;."""
    kind, returns = at.parts[-1], at.parts[0] == "atom"
    name = next((part for part in at.parts[1:] if part in OPERATIONS or part == "cas"), "")
    if not name or (kind[0] == "f" and name != "exch") or "vec" in at.parts:
        raise batch.unknown(at)
    kind = f"u{kind[1:]}" if kind[0] in "bf" else kind
    size = SIZES[kind]
    target = batch.target(at.operands[0], kind) if returns else None
    operands = at.operands[1:] if returns else at.operands
    where_is = addresses(batch, operands[0])
    sources = [batch.read(operand, kind) for operand in operands[1:]]
    unused = np.empty(batch.count, KINDS[kind])

    def use(space: Space, places: np.ndarray, lanes: Lanes) -> None:
        index = space.place(places, lanes, size, at)
        batch.observe_atomic(space, index, lanes, size, at)
        values = [spread(source, lanes, batch.count) for source in sources]
        memory = space.views[size].view(KINDS[kind])
        old = apply(memory, index // size, name, values)
        put(unused if target is None else target, old, lanes)

    return lambda _, lanes: each_space(batch, space_of(at), where_is(lanes), lanes, use)


def apply(memory: np.ndarray, index: np.ndarray, name: str, values: list[np.ndarray]) -> np.ndarray:
    """Do it for all threads in their order; what each found."""
    order = np.argsort(index, kind="stable")
    places = index[order]
    first = np.r_[True, places[1:] != places[:-1]]
    starts = np.flatnonzero(first)
    old = np.empty(len(index), memory.dtype)
    if name == "add":
        added = values[0][order]
        sums = np.cumsum(added, dtype=memory.dtype)
        before = sums - added
        segment = np.cumsum(first) - 1
        old[order] = memory[places] + (before - before[starts][segment])
        ends = np.r_[starts[1:], len(places)] - 1
        memory[places[starts]] += sums[ends] - before[starts]
        return old
    rank = np.arange(len(places)) - starts[np.cumsum(first) - 1]
    for turn in range(int(rank.max()) + 1 if len(rank) else 0):
        now = order[rank == turn]
        found = memory[index[now]]
        old[now] = found
        chosen = [value[now] for value in values]
        if name == "cas":
            memory[index[now]] = np.where(found == chosen[0], chosen[1], found)
        else:
            memory[index[now]] = OPERATIONS[name](found, chosen[0])
    return old
