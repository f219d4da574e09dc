"""Where threads wait for each other: at barriers of blocks, and where those of a warp do something together."""

from __future__ import annotations

from typing import Any

import numpy as np

from .batch import Batch
from .faults import ConvergenceFault
from .ptx import Instruction
from .steps import WARP
from .warp import predicate

Waiting = dict[int, tuple[Instruction, np.ndarray]]  # by the number of the piece where threads will go on


class Meetings:
    """Who waits where in a batch."""

    def __init__(self, batch: Batch) -> None:
        """Batch: whose threads wait."""
        self.batch = batch
        self.begin()

    def begin(self) -> None:
        """Nobody waits."""
        self.held: Waiting = {}  # for others of their warp
        self.waiting: Waiting = {}  # for others of their block
        self.tried = -1  # threads alive when those held were last let go

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self.held or self.waiting)

    def wait(self, number: int, at: Instruction, mask: np.ndarray) -> None:
        """Threads have come to a barrier of their blocks, and go on from a piece."""
        if "arrive" in at.parts or len(at.operands) > (3 if "red" in at.parts else 1):
            raise self.batch.unknown(at)
        earlier = self.waiting[number][1] if number in self.waiting else False
        self.waiting[number] = at, earlier | mask

    def release(self, alive: np.ndarray) -> dict[int, np.ndarray]:
        """When nobody can run: who goes on, and where.

        Of a block all wait at a barrier, or threads that others of their warp waited for have ended.
        """
        count = int(np.count_nonzero(alive))
        if self.held and self.tried != count:
            self.tried = count
            held, self.held = self.held, {}
            return {number: mask for number, (_, mask) in held.items()}
        batch = self.batch
        everyone = np.zeros(batch.count, bool)
        for _, mask in self.waiting.values():
            everyone |= mask
        missing = (alive & ~everyone).reshape(batch.blocks, -1).any(axis=1)
        free = np.repeat(everyone.reshape(batch.blocks, -1).any(axis=1) & ~missing, batch.padded)
        if not free.any():
            raise self.deadlock()
        if len(self.waiting) > 1:
            self.same_barrier(free)
        going = {}
        for number, (at, mask) in list(self.waiting.items()):
            if (mask & free).any():
                going[number] = mask & free
                if "red" in at.parts:
                    self.reduce(at, mask & free)
            if (mask & ~free).any():
                self.waiting[number] = at, mask & ~free
            else:
                del self.waiting[number]
        batch.races.barrier(free)
        batch.sharing.barrier(free)
        return going

    def reduce(self, at: Instruction, mask: np.ndarray) -> None:
        """bar.red.popc/and/or d, a, p: how many, all or any of the threads of a block say yes."""
        batch = self.batch
        yes = (np.broadcast_to(predicate(batch, at.operands[2])(), batch.count) & mask).reshape(batch.blocks, -1)
        there = mask.reshape(batch.blocks, -1)
        answers = {"popc": yes.sum(axis=1), "and": (yes == there).all(axis=1), "or": yes.any(axis=1)}
        answer = next(answers[part] for part in at.parts if part in answers)
        np.copyto(batch.target(at.operands[0], at.parts[-1]), np.repeat(answer, batch.padded), where=mask,
                  casting="unsafe")  # fmt: skip

    def same_barrier(self, free: np.ndarray) -> None:
        """bar.sync is aligned: all threads of a block come to the same one."""
        batch = self.batch
        seen = np.zeros(batch.blocks, int)
        for at, mask in self.waiting.values():
            seen += (mask & free).reshape(batch.blocks, -1).any(axis=1)
            parted = np.flatnonzero(seen > 1)
            if len(parted):
                lane = int(np.flatnonzero(mask & (batch.owner == parted[0]))[0])
                what = "threads of one block wait at different barriers"
                raise batch.fault(ConvergenceFault, at, lane, what)

    def deadlock(self) -> ConvergenceFault:
        """Nobody can go on: say who waits for whom."""
        at, mask = next(iter((self.held or self.waiting).values()))
        whom = "threads of its warp that never come" if self.held else "a barrier that not all of its block reach"
        fault = self.batch.fault(ConvergenceFault, at, int(np.flatnonzero(mask)[0]), f"it waits for {whom}")
        return fault  # type: ignore[return-value]

    def complete(self, number: int, at: Instruction, mask: np.ndarray, alive: np.ndarray) -> np.ndarray:
        """The threads of warps all of whose members have come to what they do together; the others are held."""
        if number in self.held:
            mask = mask | self.held.pop(number)[1]
        elif mask.all():
            return mask
        needed = self.members(at)
        if needed is None:
            absent = (alive & ~mask).reshape(-1, WARP).any(axis=1)
        else:
            lane = (np.arange(len(mask)) % WARP).astype(np.uint32)
            union = np.bitwise_or.reduce(np.where(mask, needed, np.uint32(0)).reshape(-1, WARP), axis=1)
            wanted = (union[:, None] >> lane.reshape(-1, WARP)) & 1 != 0
            absent = (wanted.reshape(-1) & alive & ~mask).reshape(-1, WARP).any(axis=1)
        hold = np.repeat(absent, WARP) & mask
        if not hold.any():
            return mask
        self.held[number] = at, hold
        return mask & ~hold

    def members(self, at: Instruction) -> np.ndarray | None:
        """The member mask of each thread; None if all of the warp take part."""
        if at.parts[0] in ("mma", "ldmatrix"):
            return None
        mask: Any = self.batch.read(at.operands[-1], "u32")
        if np.ndim(mask) == 0:
            return None if mask == 0xFFFFFFFF else np.full(self.batch.count, mask, np.uint32)
        return mask  # type: ignore[no-any-return]
