"""Loads, stores, and what is done with addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .batch import Batch
from .memory import WINDOWS, Space
from .ptx import SIZES, Address, Instruction, Operand, Register, Vector
from .steps import Lanes, Step, Where, instruction

SPACES = ("global", "shared", "local", "param", "const")
SHIFT = np.uint64(60)


def space_of(at: Instruction) -> str:
    """The kind of memory that an instruction names; "" for a generic address."""
    return next((part.split("::")[0] for part in at.parts if part.split("::")[0] in SPACES), "")


def addresses(batch: Batch, operand: Operand) -> Callable[[Lanes], np.ndarray]:
    """What computes the addresses [base + offset] of the threads that take part."""
    if not isinstance(operand, Address):
        raise ValueError(f"{operand} is no address")
    if not isinstance(operand.base, Register):
        place = np.uint64(int(batch.read(operand, "u64")))
        return lambda lanes: np.full(batch.count if lanes is None else len(lanes), place)
    base, offset = batch.register(operand.base), np.uint64(operand.offset % (1 << 64))

    def compute(lanes: Lanes) -> np.ndarray:
        chosen = base if lanes is None else base[lanes]
        if chosen.dtype == np.uint64:
            return chosen + offset if offset else chosen
        return (chosen + offset.astype(chosen.dtype)).astype(np.uint64)

    return compute


def generic(space: str) -> int:
    """What a generic address of a space has more than one within it."""
    return WINDOWS.get(space, 0)


Use = Callable[[Space, np.ndarray, Lanes], None]  # the addresses of some threads, within one space


def each_space(batch: Batch, name: str, places: np.ndarray, lanes: Lanes, use: Use) -> None:
    """Do something in the space of that name, or, with generic addresses, in each that they lie in."""
    if name:
        use(batch.spaces[name], places, lanes)
        return
    windows = places >> SHIFT
    for space, start in WINDOWS.items():
        there = windows == np.uint64(start >> 60)
        if there.all():
            use(batch.spaces[space], places - np.uint64(start), lanes)
            return
        if there.any():
            some = np.flatnonzero(there)
            use(batch.spaces[space], places[some] - np.uint64(start), some if lanes is None else lanes[some])


def widths(at: Instruction) -> tuple[str, int, int]:
    """Of a load or store: the kind of its numbers, how many each thread moves, and their bytes together."""
    count = next((int(part[1:]) for part in at.parts if part in ("v2", "v4", "v8")), 1)
    return at.parts[-1], count, count * SIZES[at.parts[-1]]


@instruction("ld", "ldu")
def load(batch: Batch, at: Instruction) -> Step:
    """ld.space.vec.type d, [a];."""
    kind, count, size = widths(at)
    operand = at.operands[0]
    results = operand.items if isinstance(operand, Vector) else (operand,)
    targets = [batch.target(result, kind) for result in results]
    dtype = np.dtype(batch.read(at.operands[0], kind).dtype) if count == 1 else targets[0].dtype
    name, where = space_of(at), addresses(batch, at.operands[1])
    width = size // count
    if name == "param" and not isinstance(at.operands[1].base, Register):  # type: ignore[union-attr]
        offset = int(batch.read(at.operands[1], "u64"))

        def argument(where: Where, lanes: Lanes) -> None:
            values = batch.spaces["param"].data[offset : offset + size].view(dtype if count == 1 else f"u{width}")
            for target, value in zip(targets, values, strict=True):
                target = target if count == 1 else target.view(f"u{target.dtype.itemsize}")
                np.copyto(target, value, where=where)

        return argument

    def use(space: Space, places: np.ndarray, lanes: Lanes) -> None:
        index = space.place(places, lanes, size, at)
        batch.observe_read(space, index, lanes, size, at)
        if count == 1:
            put(targets[0], space.views[size].take(index // size).view(dtype), lanes)
            return
        rows = space.views[width].reshape(-1, count).take(index // size, axis=0)
        for target, column in zip(targets, rows.T, strict=True):
            put(target.view(f"u{target.dtype.itemsize}"), column, lanes)

    return lambda _, lanes: each_space(batch, name, where(lanes), lanes, use)


def put(target: np.ndarray, values: np.ndarray, lanes: Lanes) -> None:
    """Write results of the threads that take part."""
    if lanes is None:
        target[...] = values
    else:
        target[lanes] = values


@instruction("st")
def store(batch: Batch, at: Instruction) -> Step:
    """st.space.vec.type [a], b;."""
    _, count, size = widths(at)
    operand = at.operands[1]
    unsigned = f"u{8 * (size // count)}"
    sources = [batch.read(item, unsigned) for item in (operand.items if isinstance(operand, Vector) else (operand,))]
    name, where = space_of(at), addresses(batch, at.operands[0])

    def use(space: Space, places: np.ndarray, lanes: Lanes) -> None:
        index = space.place(places, lanes, size, at)
        values = np.empty((len(index), count), f"u{size // count}")
        for column, source in enumerate(sources):
            values[:, column] = source if lanes is None or np.ndim(source) == 0 else source[lanes]
        batch.observe_write(space, index, lanes, size, at, values)
        if count == 1:
            space.views[size][index // size] = values[:, 0]
        else:
            space.views[size // count].reshape(-1, count)[index // size] = values

    return lambda _, lanes: each_space(batch, name, where(lanes), lanes, use)


@instruction("cvta")
def convert_address(batch: Batch, at: Instruction) -> Step:
    """cvta.space d, a: to a generic address; cvta.to.space: from one."""
    kind = at.parts[-1]
    target, source = batch.target(at.operands[0], kind), batch.read(at.operands[1], kind)
    start = np.uint64(generic(space_of(at)))
    change: Any = np.subtract if "to" in at.parts else np.add
    if not start:
        return lambda where, _: np.copyto(target, source, where=where)
    if target.dtype.itemsize < 8:
        raise batch.unknown(at)
    return lambda where, _: change(source, start, out=target, where=where)


@instruction("isspacep")
def in_space(batch: Batch, at: Instruction) -> Step:
    """isspacep.space p, a: whether a generic address lies in a space."""
    target, source = batch.target(at.operands[0], "pred"), batch.read(at.operands[1], "u64")
    window = np.uint64(generic(space_of(at)) >> 60)
    return lambda where, _: np.copyto(target, (source >> SHIFT) == window, where=where)


@instruction("prefetch", "prefetchu", "applypriority", "discard", "createpolicy")
def hint(batch: Batch, at: Instruction) -> Step:
    """What only makes things faster."""
    return lambda where, lanes: None


@instruction("membar", "fence")
def fence(batch: Batch, at: Instruction) -> Step:
    """Memory is one and in order here."""
    return lambda where, lanes: None
