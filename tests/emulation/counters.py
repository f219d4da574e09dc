"""How often instructions ran, and what their accesses cost: passes of shared memory, sectors of global memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from .ptx import Instruction

SECTOR, BANKS = 32, 32
NOBODY = np.int64(-1)


@dataclass
class Access:
    """All executions of one load, store or copy.

    kind: "read", "write", "atomic" or "copy" (what cp.async writes). used: passes over the banks of shared memory, or
    sectors of 32 bytes of global memory, that its warps took; ideal: the fewest for as many bytes. bytes: asked for
    (those that threads of a warp share once).
    """

    line: int
    text: str
    space: str
    kind: str
    warps: int = 0
    used: int = 0
    ideal: int = 0
    bytes: int = 0


@dataclass
class Counts:
    """Of one launch. instructions: by name, once for each warp that runs one."""

    instructions: Counter[str] = field(default_factory=Counter)
    accesses: dict[tuple[int, str, str], Access] = field(default_factory=dict)

    def of(self, space: str, kind: str = "", text: str = "") -> Access:
        """The sum of all accesses to a space, of a kind ("": any), whose instruction contains a text."""
        total = Access(0, text, space, kind)
        for access in self.accesses.values():
            if access.space == space and kind in ("", access.kind) and text in access.text:
                total.warps += access.warps
                total.used += access.used
                total.ideal += access.ideal
                total.bytes += access.bytes
        return total

    @property
    def bank_conflicts(self) -> int:
        """Passes of shared memory beyond the fewest."""
        shared = self.of("shared")
        return shared.used - shared.ideal

    def executed(self, name: str) -> int:
        """How often warps ran instructions whose names begin so."""
        return sum(count for full, count in self.instructions.items() if full.startswith(name))


def passes(index: np.ndarray, size: int) -> tuple[int, int, int]:
    """Of accesses to shared memory, a row for each warp: passes over the banks, the fewest, bytes.

    32 threads of 4 bytes are served at once, 16 of 8, 8 of 16; words in one bank come one after another.
    """
    parts = max(size // 4, 1)
    words = np.repeat(index.reshape(-1, 32 // parts) >> 2, parts, axis=1)
    words += np.where(words < 0, 0, np.arange(words.shape[1]) % parts)
    words.sort(axis=1)
    distinct = words >= 0
    distinct[:, 1:] &= words[:, 1:] != words[:, :-1]
    rows, columns = np.nonzero(distinct)
    banks = np.bincount(rows * BANKS + words[rows, columns] % BANKS, minlength=len(words) * BANKS)
    return int(banks.reshape(-1, BANKS).max(axis=1).sum()), int((words[:, -1] >= 0).sum()), len(rows) * min(size, 4)


def sectors(index: np.ndarray, size: int) -> tuple[int, int, int]:
    """Of accesses to global memory, a row for each warp: sectors, the fewest, bytes."""
    places = np.sort(index, axis=1)
    there = places >= 0
    new = np.ones(places.shape, bool)
    new[:, 1:] = places[:, 1:] != places[:, :-1]
    single = (new & there).sum(axis=1) * size
    new[:, 1:] = places[:, 1:] // SECTOR != places[:, :-1] // SECTOR
    return int((new & there).sum()), int((-(-single // SECTOR)).sum()), int(single.sum())


class Traffic:
    """Counts the accesses of a batch; patterns that come again are counted once."""

    def __init__(self, count: int) -> None:
        """Count: threads of the batch."""
        self.count = count
        self.seen: dict[tuple[int, str, str], tuple[np.ndarray, np.ndarray | None, int, tuple[int, int, int, int]]] = {}
        self.counts = Counts()

    def add(
        self, space: str, kind: str, index: np.ndarray, lanes: np.ndarray | None, size: int, at: Instruction
    ) -> None:
        """Threads access `size` bytes each."""
        key = at.line, space, kind
        access = self.counts.accesses.get(key)
        if access is None:
            access = self.counts.accesses[key] = Access(at.line, at.text, space, kind)
        phase = int(index[0]) % (SECTOR if space == "global" else 4)
        pattern = index - index[0]
        seen = self.seen.get(key)
        if seen and seen[1] is lanes and seen[2] == phase and np.array_equal(seen[0], pattern):
            cost = seen[3]
        else:
            cost = self.cost(space, index, lanes, size)
            self.seen[key] = pattern, lanes, phase, cost
        access.warps += cost[0]
        access.used += cost[1]
        access.ideal += cost[2]
        access.bytes += cost[3]

    def cost(self, space: str, index: np.ndarray, lanes: np.ndarray | None, size: int) -> tuple[int, int, int, int]:
        """Warps, passes or sectors, the fewest, bytes."""
        places = index
        if lanes is not None:
            places = np.full(self.count, NOBODY)
            places[lanes] = index
        places = places.reshape(-1, 32)
        warps = int((places >= 0).any(axis=1).sum())
        return warps, *(passes if space == "shared" else sectors)(places, size)
