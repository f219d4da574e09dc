"""Modules and kernels as a driver has them: `Module(ptx).function(name)(grid, block, arguments)`."""

from __future__ import annotations

import math
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import access, asynchronous, atomics, bits, conversion, integers, tensor, warp  # noqa: F401
from .batch import Batch
from .counters import Counts
from .flow import Program
from .memory import allocations
from .nvrtc import compile_ptx
from .parsing import Module as Text
from .ptx import Entry, Variable

THREADS = 4096  # that run together: their arrays fit a core's caches
KEPT = 4  # batches of a kernel

__all__ = ["Counts", "Function", "Module", "allocations", "compile_ptx"]


class Module:
    """The kernels and the variables of a PTX text."""

    def __init__(self, ptx: str) -> None:
        """Ptx: what NVRTC wrote."""
        self.text = Text(ptx)
        self.symbols: dict[str, int] = {}
        self.shared: list[Variable] = []
        self.storage: list[np.ndarray] = []
        for variable in self.text.variables.values():
            if variable.space == "shared":
                self.shared.append(variable)
            else:
                self.symbols[variable.name] = self.place(variable)
        for variable in self.text.variables.values():
            for offset, name in variable.references.items():
                at = self.symbols[variable.name] + offset
                owner = next(each for each in self.storage if each.ctypes.data <= at < each.ctypes.data + each.size)
                start = at - owner.ctypes.data
                owner[start : start + 8] = np.frombuffer(self.symbols[name].to_bytes(8, "little"), np.uint8)
        self.functions: dict[str, Function] = {}

    def place(self, variable: Variable) -> int:
        """Give a variable of the module its memory; its address."""
        room = np.zeros(variable.size + 256, np.uint8)
        start = -room.ctypes.data % 256
        data = room[start : start + variable.size]
        if variable.data is not None:
            data[:] = np.frombuffer(variable.data, np.uint8)
        self.storage.append(data)
        address = data.ctypes.data
        allocations.add(address, variable.size)
        weakref.finalize(self, allocations.remove, address)
        return address

    def function(self, name: str) -> Function:
        """The kernel of that name."""
        if name not in self.functions:
            entry = self.text.entries.get(name)
            if entry is None or not entry.kernel:
                raise KeyError(f"no kernel {name}: there are {', '.join(self.text.entries)}")
            self.functions[name] = Function(self, entry)
        return self.functions[name]


class Function:
    """A kernel."""

    def __init__(self, module: Module, entry: Entry) -> None:
        """Module: where its variables are."""
        self.module, self.entry = module, entry
        self.programs: OrderedDict[Any, Program] = OrderedDict()

    def __call__(
        self, grid: tuple[int, int, int], block: tuple[int, int, int], arguments: Sequence[Any], shared: int = 0
    ) -> Counts:
        """Run it: arguments are addresses (int) and NumPy scalars of exactly the types it declares."""
        grid, block = ((*map(int, size), 1, 1)[:3] for size in (grid, block))
        self.limits(grid, block)
        values = self.packed(arguments)
        total = math.prod(grid)
        together = max(1, THREADS // (-(-math.prod(block) // 32) * 32))
        blocks = min(together, 1 << (total - 1).bit_length())  # few different numbers: programs serve again
        program = self.program(block, blocks, shared)
        batch = program.batch
        parameters = batch.spaces["param"].data
        for (place, _), value in zip(
            (batch.symbols[parameter.name] for parameter in self.entry.parameters), values, strict=True
        ):
            parameters[place : place + len(value)] = np.frombuffer(value, np.uint8)
        counts = batch.traffic.counts = Counts()
        batch.sharing.launch()
        with np.errstate(all="ignore"):
            for first in range(0, total, blocks):
                program.run(batch.place(first, grid))
                for piece in program.pieces:
                    for at in piece.code if piece.warps else ():
                        counts.instructions[at.name] += piece.warps
        return counts

    def limits(self, grid: tuple[int, ...], block: tuple[int, ...]) -> None:
        """What every device refuses."""
        allowed = zip((*grid, *block, math.prod(block)), (2**31 - 1, 65535, 65535, 1024, 1024, 64, 1024), strict=True)
        if not all(1 <= size <= limit for size, limit in allowed):
            raise ValueError(f"{self.entry.name}: no device starts a grid of {grid} blocks of {block} threads")

    def packed(self, arguments: Sequence[Any]) -> list[bytes]:
        """The bytes of the arguments, as the kernel declares them."""
        declared, name = self.entry.parameters, self.entry.name
        if len(arguments) != len(declared):
            raise TypeError(f"{name} takes {len(declared)} arguments, got {len(arguments)}")
        values = []
        for number, (argument, parameter) in enumerate(zip(arguments, declared, strict=True)):
            if isinstance(argument, int) and not isinstance(argument, np.generic):
                argument = np.uint64(argument)
            if not isinstance(argument, np.generic):
                raise TypeError(f"{name}: argument {number} is no address and no NumPy scalar: {argument!r}")
            value = argument.tobytes()
            if len(value) != parameter.size:
                what = f"{parameter.size} bytes, got {len(value)} ({argument.dtype})"
                raise TypeError(f"{name}: argument {number} has {what}")
            if parameter.kind[0] != "b" and (parameter.kind[0] == "f") != (argument.dtype.kind == "f"):
                raise TypeError(f"{name}: argument {number} is {parameter.kind}, got {argument.dtype}")
            values.append(value)
        return values

    def program(self, block: tuple[int, ...], blocks: int, shared: int) -> Program:
        """The kernel's code for so many blocks."""
        key = block, blocks, shared
        if key not in self.programs:
            batch = Batch(self.entry, self.module.shared, self.module.symbols, block, blocks, shared)
            self.programs[key] = Program(batch)
            if len(self.programs) > KEPT:
                self.programs.popitem(last=False)
        self.programs.move_to_end(key)
        return self.programs[key]
