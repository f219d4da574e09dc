"""cp.async: the instructions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .access import addresses, each_space
from .batch import Batch
from .copies import Copy, rows
from .faults import Fault
from .memory import GARBAGE, Space
from .ptx import Constant, Instruction
from .steps import Lanes, Step, Where, instruction, spread


@instruction("cp")
def copy_async(batch: Batch, at: Instruction) -> Step:
    """cp.async.ca/cg.shared.global [to], [from], size[, source size];  commit_group;  wait_group n;  wait_all;."""
    copies = batch.copies
    if at.parts[:2] != ("cp", "async"):
        raise batch.unknown(at)
    if "commit_group" in at.parts:
        return lambda _, lanes: copies.commit(lanes)
    if "wait_all" in at.parts:
        return lambda _, lanes: copies.wait(lanes, -1)
    if "wait_group" in at.parts:
        assert isinstance(at.operands[0], Constant)
        groups = at.operands[0].bits
        return lambda _, lanes: copies.wait(lanes, groups)
    if at.parts[2] not in ("ca", "cg") or not isinstance(at.operands[2], Constant):
        raise batch.unknown(at)
    size = at.operands[2].bits
    to, source = addresses(batch, at.operands[0]), addresses(batch, at.operands[1])
    wanted = batch.read(at.operands[3], "u32") if len(at.operands) > 3 else np.uint32(size)

    def step(_: Where, lanes: Lanes) -> None:
        who = batch.lane if lanes is None else lanes
        lengths = spread(wanted, lanes, batch.count)
        if (lengths > size).any():
            lane = int(who[int(np.argmax(lengths > size))])
            raise batch.fault(Fault, at, lane, f"it copies {int(lengths.max())} bytes of {size}")
        shared = batch.spaces["shared"]
        places = shared.place(to(lanes), lanes, size, at)
        data = gather(batch, at, source(lanes), who, lengths.astype(np.int64), size)
        batch.observe_copy(places, lanes, size, at)
        rows(shared, size)[places // size] = GARBAGE * 0x01010101
        copies.under_way.append(Copy(who, places, data, copies.committed[who]))

    return step


def gather(
    batch: Batch, at: Instruction, places: np.ndarray, lanes: np.ndarray, lengths: np.ndarray, size: int
) -> np.ndarray:
    """What is copied: as many bytes as each thread wants, then zeros. All of the source's address must be aligned."""
    data = np.zeros((len(lanes), size), np.uint8)
    for length in np.unique(lengths):
        if length == 0:
            continue
        some = np.flatnonzero(lengths == length)

        def use(space: Space, there: np.ndarray, who: Lanes, length: int = int(length), some: Any = some) -> None:
            index = space.place(there, who, size, at, length)
            batch.observe_read(space, index, who, length, at)
            data[some, :length] = space.views[1][index[:, None] + np.arange(length)]

        def whole(space: Space, there: np.ndarray, who: Lanes, some: Any = some) -> None:
            index = space.place(there, who, size, at)
            batch.observe_read(space, index, None if who is not None and len(who) == batch.count else who, size, at)
            data[some] = rows(space, size).take(index // size, axis=0).view(np.uint8)

        each_space(batch, "global", places[some], lanes[some], whole if length == size else use)
    return data.view(np.uint32)
