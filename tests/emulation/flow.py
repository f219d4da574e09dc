"""Which threads run next: always those that wait at the lowest place, so that what parted meets again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .batch import WARP, Batch, Lanes, Step, Where
from .faults import ConvergenceFault, Fault
from .ptx import Instruction, Name, Operand, Symbol
from .warp import predicate

ENDS = ("bra", "brx", "ret", "exit", "trap", "bar", "barrier", "call")
TOGETHER = ("shfl", "vote", "match", "redux", "mma", "ldmatrix", "elect", "activemask")  # of the threads of a warp


def warp_barrier(at: Instruction) -> bool:
    """bar.warp.sync."""
    return at.parts[:2] in (("bar", "warp"), ("barrier", "warp"))


@dataclass
class Piece:
    """Instructions without a jump into them or out of them, and how they end."""

    code: list[Instruction]
    steps: list[Step] | None = None  # made when they first run: much of a kernel never does
    end: Instruction | None = None
    together: Instruction | None = None  # what they begin with, if threads of a warp do it together
    warps: int = 0  # how often warps ran it


@dataclass
class Group:
    """Threads that run the same instructions."""

    mask: np.ndarray
    where: Where
    lanes: Lanes
    warps: int


class Program:
    """The code of a batch in pieces, and the state of its threads."""

    def __init__(self, batch: Batch) -> None:
        """Batch: whose registers the steps work on."""
        self.batch = batch
        code = batch.entry.code
        starts = {0, *batch.entry.labels.values()}
        for place, at in enumerate(code):
            if at.parts[0] in ENDS and not warp_barrier(at):
                starts.add(place + 1)
            if at.parts[0] in TOGETHER or warp_barrier(at):
                starts.add(place)
        self.pieces: list[Piece] = []
        self.index: dict[int, int] = {}
        ordered = sorted(starts - {len(code)})
        for number, (first, last) in enumerate(zip(ordered, [*ordered[1:], len(code)], strict=True)):
            self.index[first] = number
            self.pieces.append(self.piece(code[first:last]))
        self.index[len(code)] = len(self.pieces)

    def piece(self, code: list[Instruction]) -> Piece:
        """Some instructions with what they begin and end with."""
        piece = Piece(code)
        if code and ((code[0].parts[0] in TOGETHER and code[0].parts[0] != "activemask") or warp_barrier(code[0])):
            piece.together = code[0]
        if code and code[-1].parts[0] in ENDS and not warp_barrier(code[-1]):
            piece.end = code[-1]
        return piece

    def steps(self, piece: Piece) -> list[Step]:
        """Its instructions as steps, but for what ends it."""
        with np.errstate(all="ignore"):
            return [self.step(at) for at in piece.code if at is not piece.end]

    def step(self, at: Instruction) -> Step:
        """One instruction under its guard."""
        if warp_barrier(at):
            return lambda _, lanes: self.batch.races.warp_barrier(lanes)
        step = self.batch.build(at)
        if at.guard is None:
            return step
        condition, negated = self.batch.register(at.guard), at.negated

        def guarded(where: Where, lanes: Lanes) -> None:
            chosen = ~condition if negated else condition
            some = np.flatnonzero(chosen) if lanes is None else lanes[chosen[lanes]]
            if len(some):
                whole = len(some) == len(chosen)
                step(chosen if where is True else chosen & where, None if whole else some)

        return guarded

    def group(self, mask: np.ndarray) -> Group:
        """Threads as a group."""
        count = int(np.count_nonzero(mask))
        whole = count == len(mask)
        warps = len(mask) // WARP if whole else int(np.count_nonzero(mask.reshape(-1, WARP).any(axis=1)))
        return Group(mask, True if count == self.alive_count else mask, None if whole else np.flatnonzero(mask), warps)

    def run(self, alive: np.ndarray) -> None:
        """Run all threads to their end."""
        for piece in self.pieces:
            piece.warps = 0
        self.alive = alive.copy()
        self.alive_count = int(np.count_nonzero(alive))
        self.ready: dict[int, np.ndarray] = {0: self.alive.copy()}
        self.held: dict[int, np.ndarray] = {}  # waiting for others of their warp
        self.waiting: dict[int, np.ndarray] = {}  # at a barrier, by the piece behind it
        self.reasons: dict[int, Instruction] = {}
        while self.ready or self.waiting or self.held:
            if not self.ready:
                self.release()
            number = min(self.ready)
            mask = self.ready.pop(number)
            if number == len(self.pieces):
                self.leave(mask)
                continue
            self.follow(number, self.group(mask))

    def follow(self, number: int, group: Group) -> None:
        """Run a group from a piece on, as long as it stays together and no other waits at a lower place."""
        while True:
            piece = self.pieces[number]
            if piece.together is not None:
                complete = self.complete(number, piece.together, group)
                if complete is None:
                    return
                group = complete
            piece.warps += group.warps
            where, lanes = group.where, group.lanes
            if piece.steps is None:
                piece.steps = self.steps(piece)
            for step in piece.steps:
                step(where, lanes)
            following = self.end(number, piece, group)
            if following is None:
                return
            if self.ready and min(self.ready) <= following:
                self.arrive(following, group.mask)
                return
            number = following
            if number == len(self.pieces):
                self.leave(group.mask)
                return

    def arrive(self, number: int, mask: np.ndarray) -> None:
        """Threads are ready to run a piece."""
        self.ready[number] = self.ready[number] | mask if number in self.ready else mask

    def leave(self, mask: np.ndarray) -> None:
        """Threads have ended."""
        self.alive &= ~mask
        self.alive_count = int(np.count_nonzero(self.alive))

    def end(self, number: int, piece: Piece, group: Group) -> int | None:
        """Where all threads of a group go on; None once they have been parted or wait."""
        at = piece.end
        if at is None:
            return number + 1
        taken = group.mask
        if at.guard is not None:
            condition = self.batch.register(at.guard)
            chosen = ~condition if at.negated else condition
            taken = chosen & group.mask
            count = int(np.count_nonzero(taken))
            if count == 0:
                return number + 1
            if count < (len(taken) if group.lanes is None else len(group.lanes)):
                self.arrive(number + 1, group.mask & ~taken)
                self.go(number, at, taken)
                return None
        if at.parts[0] == "bra":
            return self.label(at.operands[0])
        self.go(number, at, taken)
        return None

    def label(self, operand: Operand) -> int:
        """The piece that begins at a label."""
        assert isinstance(operand, Name | Symbol)
        return self.index[self.batch.entry.labels[operand.name]]

    def go(self, number: int, at: Instruction, mask: np.ndarray) -> None:
        """Do what ends a piece."""
        name = at.parts[0]
        if name == "bra":
            self.arrive(self.label(at.operands[0]), mask)
        elif name in ("ret", "exit"):
            self.leave(mask)
        elif name in ("bar", "barrier"):
            self.wait(number, at, mask)
        elif name == "brx":
            choice = self.batch.read(at.operands[0], "u32")
            table = at.operands[1]
            assert isinstance(table, Name | Symbol)
            for place, target in enumerate(self.batch.entry.targets[table.name]):
                some = mask & (choice == place)
                if some.any():
                    self.arrive(self.label(Name(target)), some)
        elif name == "trap":
            raise self.batch.fault(Fault, at, int(np.flatnonzero(mask)[0]), "the kernel has stopped itself")
        else:
            raise self.batch.unknown(at)

    def wait(self, number: int, at: Instruction, mask: np.ndarray) -> None:
        """Threads have come to a barrier of their blocks."""
        if "arrive" in at.parts or len(at.operands) > (3 if "red" in at.parts else 1):
            raise self.batch.unknown(at)
        self.reasons[number + 1] = at
        earlier = self.waiting.get(number + 1)
        self.waiting[number + 1] = mask if earlier is None else earlier | mask

    def release(self) -> None:
        """Let the blocks go on all of whose threads wait at a barrier."""
        batch = self.batch
        everyone = np.zeros(batch.count, bool)
        for mask in self.waiting.values():
            everyone |= mask
        missing = (self.alive & ~everyone).reshape(batch.blocks, -1).any(axis=1)
        free = np.repeat(everyone.reshape(batch.blocks, -1).any(axis=1) & ~missing, batch.padded)
        if not free.any():
            self.deadlock(everyone)
        if len(self.waiting) > 1:
            self.same_barrier(free)
        for number, mask in list(self.waiting.items()):
            rest = mask & ~free
            if (mask & free).any():
                if "red" in self.reasons[number].parts:
                    self.reduce(self.reasons[number], mask & free)
                self.arrive(number, mask & free)
            if rest.any():
                self.waiting[number] = rest
            else:
                del self.waiting[number]
        batch.races.barrier(free)
        batch.sharing.barrier(free)

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
        for number, mask in self.waiting.items():
            seen += (mask & free).reshape(batch.blocks, -1).any(axis=1)
            parted = np.flatnonzero(seen > 1)
            if len(parted):
                lane = int(np.flatnonzero(mask & (batch.owner == parted[0]))[0])
                what = "threads of one block wait at different barriers"
                raise batch.fault(ConvergenceFault, self.reasons[number], lane, what)

    def deadlock(self, everyone: np.ndarray) -> None:
        """Nobody can go on: say who waits for whom."""
        for number, mask in self.held.items():
            at = self.pieces[number].together
            assert at is not None
            what = "it waits for threads of its warp that never come"
            raise self.batch.fault(ConvergenceFault, at, int(np.flatnonzero(mask)[0]), what)
        for number, mask in self.waiting.items():
            what = "it waits at a barrier that other threads of its block never reach"
            raise self.batch.fault(ConvergenceFault, self.reasons[number], int(np.flatnonzero(mask)[0]), what)

    def complete(self, number: int, at: Instruction, group: Group) -> Group | None:
        """The warps whose threads have all come to what they do together; the others are held until they have."""
        mask = group.mask
        if number in self.held:
            mask = mask | self.held.pop(number)
        needed = self.members(at)
        if needed is None:
            if mask is group.mask and len(mask) == np.count_nonzero(mask):
                return group
            absent = (self.alive & ~mask).reshape(-1, WARP).any(axis=1)
        else:
            lane = (np.arange(len(mask)) % WARP).astype(np.uint32)
            union = np.bitwise_or.reduce(np.where(mask, needed, np.uint32(0)).reshape(-1, WARP), axis=1)
            wanted = (union[:, None] >> lane.reshape(-1, WARP)) & 1 != 0
            absent = (wanted.reshape(-1) & self.alive & ~mask).reshape(-1, WARP).any(axis=1)
        hold = np.repeat(absent, WARP) & mask
        if hold.any():
            self.held[number] = hold
            mask = mask & ~hold
            if not mask.any():
                return None
        return group if mask is group.mask else self.group(mask)

    def members(self, at: Instruction) -> np.ndarray | None:
        """The member mask of each thread; None if all of the warp take part."""
        if at.parts[0] in ("mma", "ldmatrix"):
            return None
        mask: Any = self.batch.read(at.operands[-1], "u32")
        if np.ndim(mask) == 0:
            return None if mask == 0xFFFFFFFF else np.full(self.batch.count, mask, np.uint32)
        return mask  # type: ignore[no-any-return]
