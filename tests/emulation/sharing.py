"""Whether threads meet in global memory during one launch, where only a block's barriers order its own threads.

A cell is written by one block only, and not read by another, unless what is written was there before. Atomic operations
are free to meet, and a kernel with a fence may read what other blocks wrote: how it knows that they have is not
followed. Threads of one warp are taken to be in step, but may not write different values to one cell at once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .faults import RaceFault
from .memory import BASE, Global, allocations
from .ptx import SIZES, Entry, Instruction

if TYPE_CHECKING:
    from .batch import Batch
    from .steps import Lanes

BLOCK, EPOCH, WARP = 32, 12, 5  # where in a record the block, its barriers, and the warp begin; then the thread
SEVERAL = (1 << EPOCH) - 1  # threads
MIXED = (1 << 31) - 1 << BLOCK | SEVERAL  # blocks


@lru_cache(64)
def grain(entry: Entry) -> int:
    """Bytes of the narrowest access that may be to global memory."""
    widths = [16]
    for at in entry.code:
        if at.parts[0] in ("ld", "st", "atom", "red") and not {"shared", "local", "param", "const"} & {*at.parts}:
            count = next((int(part[1:]) for part in at.parts if part in ("v2", "v4")), 1)
            widths.append(count * SIZES.get(at.parts[-1], 1))
        elif at.parts[0] == "cp":
            widths.append(4)
    return min(widths)


class Sharing:
    """Who has written and who has read each cell of all arrays in this launch."""

    def __init__(self, batch: Batch) -> None:
        """Batch: some of the launch's blocks after others."""
        self.batch, self.grain = batch, grain(batch.entry)
        self.fenced = any(at.parts[0] in ("membar", "fence") for at in batch.entry.code)
        self.inside = batch.lane % batch.padded

    def launch(self) -> None:
        """Nothing has happened in this launch."""
        self.starts, ends = (places.astype(np.int64) for places in allocations.spans())
        counts = (ends - 1) // self.grain - self.starts // self.grain + 1
        before = np.cumsum(counts) - counts
        self.shift = before - self.starts // self.grain  # from a multiple of the grain to a cell's number
        total = int(counts.sum())
        self.written, self.read = np.zeros(total, np.int64), np.zeros(total, np.int64)

    def place(self, numbers: np.ndarray) -> None:
        """The batch runs blocks of these numbers."""
        self.now = (numbers + 1 << BLOCK) + self.inside

    def barrier(self, mask: np.ndarray) -> None:
        """Blocks have passed a barrier."""
        self.now[mask] += 1 << EPOCH

    def cells(self, index: np.ndarray, size: int) -> np.ndarray:
        """The numbers of the cells that accesses touch: a row for each."""
        addresses = index + BASE
        low, high = (int(np.searchsorted(self.starts, end, "right")) - 1 for end in (addresses.min(), addresses.max()))
        owner = low if low == high else np.searchsorted(self.starts, addresses, "right") - 1
        first = addresses // self.grain + self.shift[owner]
        return first[:, None] + np.arange(size // self.grain) if size > self.grain else first[:, None]

    def met(self, records: np.ndarray, now: np.ndarray) -> np.ndarray | None:
        """Which records are of others with nothing between; None if there are none."""
        if not records.any():
            return None
        other = records ^ now
        found = (records != 0) & (other >> WARP != 0)
        found &= (other >> BLOCK != 0) | (other >> EPOCH == 0)
        return found if found.any() else None

    def fault(self, records: np.ndarray, found: np.ndarray, lanes: Lanes, at: Instruction, what: str) -> RaceFault:
        """Say who met whom."""
        row, column = (int(place[0]) for place in np.nonzero(found))
        record = int(records[row, column])
        block, thread = (record >> BLOCK) - 1, record & SEVERAL
        other = "several threads" if thread == SEVERAL else f"thread {thread}"
        other = "threads of several blocks" if record == MIXED else f"{other} of block number {block}"
        lane = row if lanes is None else int(lanes[row])
        what = what.replace("OTHER", other) + " in this launch"
        return self.batch.fault(RaceFault, at, lane, what)  # type: ignore[return-value]

    def reads(self, index: np.ndarray, lanes: Lanes, size: int, at: Instruction) -> None:
        """Threads read."""
        cells = self.cells(index, size)
        now = (self.now if lanes is None else self.now[lanes])[:, None]
        records = self.written[cells]
        found = self.met(records, now)
        if found is not None and self.fenced:
            found &= (records ^ now) >> BLOCK == 0
        if found is not None and found.any():
            raise self.fault(records, found, lanes, at, "it reads global memory that OTHER wrote")
        if "nc" in at.parts and records.any():
            raise self.fault(records, records != 0, lanes, at, "it reads as constant what OTHER wrote")
        self.note(cells, np.broadcast_to(now, cells.shape))

    def note(self, cells: np.ndarray, now: np.ndarray) -> None:
        """Keep who read: one thread, several of a block since its barrier, or several blocks."""
        records = self.read[cells]
        if records.any():
            now = merged(records, now)
            if (now == records).all():
                return
        self.read[cells] = now
        left = self.read[cells]
        lost = left != now
        while lost.any():  # several read one cell at once
            both = merged(left[lost], now[lost])
            self.read[cells[lost]] = both
            left = self.read[cells]
            lost = (merged(left, now) != left) if lost.any() else lost

    def writes(self, index: np.ndarray, lanes: Lanes, size: int, at: Instruction, values: np.ndarray) -> None:
        """Threads write values."""
        cells = self.cells(index, size)
        now = (self.now if lanes is None else self.now[lanes])[:, None]
        for records, what in ((self.written[cells], "wrote"), (self.read[cells], "read")):
            found = self.met(records, now)
            if found is not None and (found := found & changed(index, size, values)).any():
                raise self.fault(records, found, lanes, at, f"it writes global memory that OTHER {what}")
        self.written[cells] = now
        left = self.written[cells]
        lost = left != now
        if lost.any():
            last = np.empty(int(cells.max() - cells.min()) + 1, np.int64)
            last[cells - cells.min()] = np.arange(len(cells))[:, None]
            parts = np.ascontiguousarray(values).view(np.uint8).reshape(*cells.shape, -1)
            column = np.broadcast_to(np.arange(cells.shape[1]), cells.shape)
            differ = (parts != parts[last[cells - cells.min()], column]).any(axis=2)
            if differ.any():
                raise self.fault(
                    left, differ, lanes, at, "it writes global memory to which OTHER writes something else"
                )


def changed(index: np.ndarray, size: int, values: np.ndarray) -> np.ndarray:
    """Which accesses write something else than what is there: a column."""
    there = Global.views[1][index[:, None] + np.arange(size)]
    return (there != np.ascontiguousarray(values).view(np.uint8).reshape(there.shape)).any(axis=1, keepdims=True)


def merged(records: np.ndarray, now: np.ndarray) -> np.ndarray:
    """What to keep of those who read before and those who read now."""
    other = records ^ now
    same = (records == 0) | (other == 0) | ((other >> BLOCK == 0) & (records < now) & (other >> EPOCH != 0))
    return np.where(same, now, np.where(other >> BLOCK == 0, np.maximum(records, now) | SEVERAL, np.int64(MIXED)))
