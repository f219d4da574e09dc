"""Whether threads meet in shared memory with no barrier between them.

For each cell of shared memory two records say who wrote it last and who read it since: how many barriers the block had
passed then, how many the warp, which warp, which thread. `bar.sync` orders a block's threads and `bar.warp.sync` a
warp's; shuffles and votes order nothing in memory. A cell that a copy of `cp.async` is under way to belongs to nobody
until the copy has landed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .faults import RaceFault
from .ptx import SIZES, Entry, Instruction

if TYPE_CHECKING:
    from .batch import Batch
    from .steps import Lanes

EPOCH, TURN, WARP = 40, 20, 12  # where a record's barriers of the block, of the warp, and its warp begin
THREAD = (1 << WARP) - 1
SEVERAL, ATOMIC, COMING = THREAD, THREAD - 1, THREAD - 2  # instead of a thread
MIXED = 0xFF << WARP  # instead of a warp
PENDING = 1 << 62 | MIXED | COMING


@lru_cache(64)
def grain(entry: Entry) -> int:
    """Bytes of the narrowest access that may be to shared memory, at most a word."""
    widths = [4]
    for at in entry.code:
        other = {"global", "local", "param", "const"} & {part.split("::")[0] for part in at.parts}
        if at.parts[0] in ("ld", "st", "atom", "red") and not other:
            widths.append(SIZES.get(at.parts[-1], 4))
    return min(widths)


class Races:
    """The records of a batch's shared memory."""

    def __init__(self, batch: Batch) -> None:
        """Batch: whose blocks' memory it is."""
        self.batch, self.grain = batch, grain(batch.entry)
        cells = len(batch.spaces["shared"].data) // self.grain
        self.written, self.read = np.zeros(cells, np.int64), np.zeros(cells, np.int64)
        self.winner = np.zeros(cells, np.int64)
        inside = batch.lane % batch.padded
        self.who = (inside // 32) << WARP | inside
        self.begin()

    def begin(self) -> None:
        """Nothing has happened yet."""
        self.written.fill(0)
        self.read.fill(0)
        self.now = self.who | 1 << EPOCH
        self.since = np.full(len(self.now), 1 << EPOCH)

    def barrier(self, mask: np.ndarray) -> None:
        """Blocks have passed a barrier."""
        self.now[mask] += 1 << EPOCH
        self.since = self.now >> EPOCH << EPOCH

    def warp_barrier(self, lanes: Lanes) -> None:
        """Warps have."""
        self.now[slice(None) if lanes is None else lanes] += 1 << TURN

    def cells(self, index: np.ndarray, size: int) -> np.ndarray:
        """What accesses touch: a row for each."""
        first = index // self.grain
        return first[:, None] + np.arange(size // self.grain) if size > self.grain else first[:, None]

    def stamps(self, lanes: Lanes) -> tuple[np.ndarray, np.ndarray]:
        """What the threads write into records, and the least of a record that no barrier lies behind."""
        if lanes is None:
            return self.now[:, None], self.since[:, None]
        return self.now[lanes][:, None], self.since[lanes][:, None]

    def open(self, records: np.ndarray, now: np.ndarray, since: np.ndarray) -> np.ndarray | None:
        """Which records are of others with nothing between; None if there are none."""
        found = (records >= since) & ((records ^ now) & THREAD != 0)
        if not found.any():
            return None
        same = (records ^ now) & MIXED == 0
        found &= ~(same & (records >> TURN < now >> TURN))
        return found if found.any() else None

    def check(
        self, records: np.ndarray, found: np.ndarray | None, index: np.ndarray, lanes: Lanes, at: Instruction, what: str
    ) -> None:
        """Say whom a thread met."""
        if found is None:
            return
        row, column = (int(place[0]) for place in np.nonzero(found))
        record = int(records[row, column])
        lane = row if lanes is None else int(lanes[row])
        space = self.batch.spaces["shared"]
        place = int(index[row]) - int(space.start[lane]) + column * self.grain
        before = "read" if what.endswith("read") else "wrote"
        other = f"thread {record & THREAD} of the block {before}"
        special = {SEVERAL: f"several threads {before}", ATOMIC: "others changed atomically"}
        other = special.get(record & THREAD, other) + " since the last barrier"
        if record & THREAD == COMING:
            other = "a copy is under way to: it has not been waited for"
        verb = what.split()[0]
        raise self.batch.fault(RaceFault, at, lane, f"it {verb} byte {place} of shared memory, which {other}")

    def reads(self, index: np.ndarray, lanes: Lanes, size: int, at: Instruction) -> None:
        """Threads read."""
        cells = self.cells(index, size)
        now, since = self.stamps(lanes)
        records = self.written[cells]
        self.check(records, self.open(records, now, since), index, lanes, at, "reads what was written")
        records = self.read[cells]
        others = self.open(records, now, since)
        new = np.broadcast_to(now, cells.shape)
        if others is not None:
            same = (records ^ now) & MIXED == 0
            new = np.where(others, np.where(same, now | SEVERAL, now | SEVERAL | MIXED), new)
        self.read[cells] = new
        left = self.read[cells]
        shared = (left ^ new) & (THREAD | MIXED)
        lost = shared != 0
        if lost.any():
            kept = np.where(shared & MIXED != 0, left | SEVERAL | MIXED, left | SEVERAL)
            mixed = lost & (shared & MIXED != 0)
            self.read[cells[lost]] = kept[lost]
            self.read[cells[mixed]] = kept[mixed]

    def writes(self, index: np.ndarray, lanes: Lanes, size: int, at: Instruction, values: np.ndarray | None) -> None:
        """Threads write values; None: no two of them write one cell."""
        cells = self.cells(index, size)
        now, since = self.stamps(lanes)
        self.no_one(cells, now, since, index, lanes, at)
        self.written[cells] = now
        lost = self.written[cells] != now
        if values is not None and lost.any():  # several threads at once: the same value is as good as one write
            parts = np.ascontiguousarray(values).view(f"u{self.grain}").reshape(cells.shape)
            order = np.arange(cells.size).reshape(cells.shape)
            self.winner[cells] = order
            differ = parts != parts.reshape(-1)[self.winner[cells]]
            self.check(
                self.written[cells], differ if differ.any() else None, index, lanes, at, "writes what was written"
            )

    def no_one(
        self, cells: np.ndarray, now: np.ndarray, since: np.ndarray, index: np.ndarray, lanes: Lanes, at: Instruction
    ) -> None:
        """Nobody else may have written or read."""
        for records, what in ((self.written, "written"), (self.read, "read")):
            found = records[cells]
            self.check(found, self.open(found, now, since), index, lanes, at, f"writes what was {what}")

    def changes(self, index: np.ndarray, lanes: Lanes, size: int, at: Instruction) -> None:
        """Threads change numbers atomically: they may meet each other, and nobody else."""
        cells = self.cells(index, size)
        now, since = self.stamps(lanes)
        for records, what in ((self.written, "written"), (self.read, "read")):
            found = records[cells]
            met = self.open(found, now, since)
            if met is not None:
                met &= found & THREAD != ATOMIC
            self.check(
                found, met if met is not None and met.any() else None, index, lanes, at, f"changes what was {what}"
            )
        self.written[cells] = now & ~THREAD | MIXED | ATOMIC

    def coming(self, index: np.ndarray, lanes: Lanes, size: int, at: Instruction) -> None:
        """Copies are under way."""
        cells = self.cells(index, size)
        now, since = self.stamps(lanes)
        self.no_one(cells, now, since, index, lanes, at)
        self.written[cells] = PENDING

    def landed(self, index: np.ndarray, lanes: np.ndarray, size: int) -> None:
        """They have come; the threads that waited for them have written."""
        self.written[self.cells(index, size)] = self.now[lanes][:, None]
