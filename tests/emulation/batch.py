"""Threads that run together: their registers as arrays, one element for each thread."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from .copies import Copies
from .counters import Traffic
from .faults import Fault, UnknownInstruction
from .memory import Global, Space, Windowed, layout
from .ptx import (
    SIZES,
    Address,
    Constant,
    Entry,
    Instruction,
    Name,
    Operand,
    Register,
    Sink,
    Special,
    Symbol,
    Variable,
)
from .races import Races
from .sharing import Sharing
from .steps import KINDS, WARP, Lanes, Step, builders
from .subnormals import suspicious


class Batch:
    """Some blocks of a grid. A warp's threads are neighbours; those that a block lacks of its last warp never run."""

    def __init__(
        self,
        entry: Entry,
        shared: list[Variable],
        symbols: dict[str, int],
        block: tuple[int, ...],
        blocks: int,
        dynamic: int,
    ) -> None:
        """shared, symbols: the module's variables in shared memory, and addresses of those in global memory."""
        self.entry, self.block, self.blocks = entry, block, blocks
        self.threads = math.prod(block)
        self.padded = -(-self.threads // WARP) * WARP
        self.count = blocks * self.padded
        self.lane = np.arange(self.count)
        self.owner = self.lane // self.padded  # the block of each thread
        self.registers: dict[str, np.ndarray] = {}
        self.scratch_arrays: dict[Any, np.ndarray] = {}
        external = [variable for variable in shared if not variable.size]
        own: dict[str, list[Variable]] = {"shared": [each for each in shared if each.size], "local": [], "param": []}
        for variable in entry.variables.values():
            own["local" if variable.space == "param" else variable.space].append(variable)
        self.symbols = {name: (place, "global") for name, place in symbols.items()}
        sizes = {}
        for space in own:
            places, sizes[space] = layout(own[space] if space != "param" else entry.parameters)
            self.symbols |= {name: (place, space) for name, place in places.items()}
        align = max([16, *(variable.align for variable in external)])
        static = -(-sizes["shared"] // align) * align
        self.symbols |= {variable.name: (static, "shared") for variable in external}
        self.dynamic, self.static = dynamic, static
        self.spaces: dict[str, Any] = {
            "global": Global(self),
            "shared": Windowed(self, "shared", static + dynamic, blocks, self.owner),
            "local": Windowed(self, "local", sizes["local"], self.count, self.lane),
            "param": Windowed(self, "param", sizes["param"], 1, 0),
        }
        self.spaces["const"] = self.spaces["global"]
        self.races = Races(self)
        self.sharing = Sharing(self)
        self.copies = Copies(self)
        self.traffic = Traffic(self.count)
        self._specials()

    def _specials(self) -> None:
        inside = self.lane % self.padded
        x, y, _ = self.block
        places = (inside % x, inside // x % y, inside // (x * y))
        lane = inside % WARP
        full = np.uint64(0xFFFFFFFF)
        bit = np.uint64(1) << lane.astype(np.uint64)
        self.exists = inside < self.threads
        self.special: dict[str, Any] = {
            "%laneid": lane,
            "%warpid": inside // WARP,
            "%nwarpid": self.padded // WARP,
            "%lanemask_eq": bit,
            "%lanemask_lt": bit - np.uint64(1),
            "%lanemask_le": (bit << np.uint64(1)) - np.uint64(1),
            "%lanemask_gt": full - ((bit << np.uint64(1)) - np.uint64(1)),
            "%lanemask_ge": full - (bit - np.uint64(1)),
            "%dynamic_smem_size": self.dynamic,
            "%total_smem_size": self.dynamic + self.static,
        }
        for axis, place, size in zip("xyz", places, self.block, strict=True):
            self.special |= {f"%tid.{axis}": place, f"%ntid.{axis}": size}
            self.special |= {f"%ctaid.{axis}": np.zeros(self.count), f"%nctaid.{axis}": np.zeros(self.count)}
        self.special = {
            name: np.array(np.broadcast_to(np.asarray(value).astype(np.uint32), self.count))
            for name, value in self.special.items()
        }

    @cached_property
    def suspicious(self) -> set[str]:
        """The registers that may hold subnormal numbers."""
        return suspicious(self.entry)

    def place(self, first: int, grid: tuple[int, ...]) -> np.ndarray:
        """Make it the blocks of a grid from the one of number `first` on; which of its threads there are."""
        self.first, self.grid = first, grid
        number = first + self.owner
        x, y, z = grid
        for axis, place, size in zip("xyz", (number % x, number // x % y, number // (x * y)), grid, strict=True):
            self.special[f"%ctaid.{axis}"][:] = place
            self.special[f"%nctaid.{axis}"][:] = size
        self.spaces["shared"].data.fill(0xFF)
        self.spaces["local"].data.fill(0xFF)
        self.sharing.place(number)
        self.races.begin()
        self.copies.begin()
        return self.exists & (number < x * y * z)

    def observe(self, kind: str, space: Space, index: np.ndarray, lanes: Lanes, size: int, at: Instruction) -> None:
        """Count an access of `size` bytes from `index` on in the views of a space."""
        if space.name in ("shared", "global") and len(index):
            self.traffic.add(space.name, kind, index, lanes, size, at)

    def observe_read(self, space: Space, index: np.ndarray, lanes: Lanes, size: int, at: Instruction) -> None:
        """Threads read."""
        if space.name == "shared":
            self.races.reads(index, lanes, size, at)
        elif space.name == "global":
            self.sharing.reads(index, lanes, size, at)
        self.observe("read", space, index, lanes, size, at)

    def observe_write(
        self, space: Space, index: np.ndarray, lanes: Lanes, size: int, at: Instruction, values: np.ndarray
    ) -> None:
        """Threads write, and have not written yet."""
        if space.name == "shared":
            self.races.writes(index, lanes, size, at, values)
        elif space.name == "global":
            self.sharing.writes(index, lanes, size, at, values)
        self.observe("write", space, index, lanes, size, at)

    def observe_atomic(self, space: Space, index: np.ndarray, lanes: Lanes, size: int, at: Instruction) -> None:
        """Threads change numbers atomically."""
        if space.name == "shared":
            self.races.changes(index, lanes, size, at)
        self.observe("atomic", space, index, lanes, size, at)

    def observe_copy(self, index: np.ndarray, lanes: Lanes, size: int, at: Instruction) -> None:
        """Copies to shared memory begin."""
        self.races.coming(index, lanes, size, at)
        self.observe("copy", self.spaces["shared"], index, lanes, size, at)

    def fault(self, kind: type[Fault], at: Instruction, lane: int, what: str) -> Fault:
        """An error that names the kernel, the thread and the instruction."""
        thread = tuple(int(self.special[f"%tid.{axis}"][lane]) for axis in "xyz")
        block = tuple(int(self.special[f"%ctaid.{axis}"][lane]) for axis in "xyz")
        return kind(f"{self.entry.name}, thread {thread} of block {block}: {what} (line {at.line}: {at.text})")

    def unknown(self, at: Instruction) -> UnknownInstruction:
        """An error of an instruction that the emulation lacks."""
        return UnknownInstruction(f"{self.entry.name}: the emulation does not know line {at.line}: {at.text}")

    def register(self, register: Register) -> np.ndarray:
        """The bits of a register."""
        if register.name not in self.registers:
            size = SIZES[register.type]
            kind = np.bool_ if register.type == "pred" else np.dtype(f"u{size}")
            self.registers[register.name] = np.full(self.count, (1 << (8 * size)) - 1 if kind != np.bool_ else 1, kind)
        return self.registers[register.name]

    def read(self, operand: Operand, kind: str) -> Any:
        """A source as numbers of a kind: a view of its register, or a scalar."""
        dtype = np.dtype(KINDS[kind])
        if isinstance(operand, Register):
            data = self.register(operand)
        elif isinstance(operand, Special):
            if operand.name not in self.special:
                raise UnknownInstruction(f"{self.entry.name}: the emulation has no {operand.name}")
            data = self.special[operand.name]
        elif isinstance(operand, Constant):
            return self.constant(operand, dtype)
        elif isinstance(operand, Symbol | Name):
            return dtype.type(self.symbol(operand.name)[0])
        elif isinstance(operand, Address) and isinstance(operand.base, Symbol):
            return dtype.type(self.symbol(operand.base.name)[0] + operand.offset)
        else:
            raise UnknownInstruction(f"{self.entry.name}: the emulation cannot read {operand}")
        if dtype == np.bool_:
            return data
        if data.dtype.itemsize < dtype.itemsize:
            raise UnknownInstruction(f"{self.entry.name}: {operand} is narrower than {kind}")
        return data.view(dtype)[:: data.dtype.itemsize // dtype.itemsize]

    def constant(self, constant: Constant, dtype: np.dtype) -> Any:
        """A number in the text as one of a type."""
        bits = constant.bits
        if constant.floating and dtype == np.float32 and bits >= 1 << 32:
            return np.float32(np.uint64(bits).view(np.float64))
        if dtype == np.bool_:
            return np.bool_(bits)
        wide = np.uint64(bits % (1 << 64))
        return np.array([wide]).view(dtype)[0]

    def symbol(self, name: str) -> tuple[int, str]:
        """The address of a variable, and its space."""
        if name not in self.symbols:
            raise UnknownInstruction(f"{self.entry.name}: there is no variable {name}")
        return self.symbols[name]

    def target(self, operand: Operand, kind: str) -> np.ndarray:
        """Where a result goes: its register as numbers of the kind, made wider where the register is."""
        if isinstance(operand, Sink):
            return np.empty(self.count, KINDS[kind])
        if not isinstance(operand, Register):
            raise UnknownInstruction(f"{self.entry.name}: the emulation cannot write {operand}")
        data = self.register(operand)
        size = np.dtype(KINDS[kind]).itemsize
        if data.dtype == np.bool_ or data.dtype.itemsize == size:
            return data.view(KINDS[kind])
        if data.dtype.itemsize < size:
            raise UnknownInstruction(f"{self.entry.name}: {operand} is narrower than {kind}")
        return data.view(f"{'i' if kind[0] == 's' else 'u'}{data.dtype.itemsize}")

    def scratch(self, dtype: Any, which: int = 0) -> np.ndarray:
        """Room for what lies between two steps of one instruction."""
        key = np.dtype(dtype), which
        if key not in self.scratch_arrays:
            self.scratch_arrays[key] = np.empty(self.count, dtype)
        return self.scratch_arrays[key]

    def build(self, at: Instruction) -> Step:
        """The step of an instruction, its guard apart."""
        if at.parts[0] not in builders:
            raise self.unknown(at)
        return builders[at.parts[0]](self, at)
