"""Which threads run next: always those that wait at the lowest place, so that what parted meets again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .batch import Batch
from .faults import Fault
from .meetings import Meetings
from .ptx import Instruction, Name, Operand, Symbol
from .steps import WARP, Lanes, Step, Where

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
        self.batch, self.meetings = batch, Meetings(batch)
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
        self.meetings.begin()
        while self.ready or self.meetings:
            if not self.ready:
                self.ready = self.meetings.release(self.alive)
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
                mask = self.meetings.complete(number, piece.together, group.mask, self.alive)
                if not mask.any():
                    return
                group = group if mask is group.mask else self.group(mask)
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
            self.meetings.wait(number + 1, at, mask)
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
