"""Kinds of memory: where an address lies, and whether it may be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .faults import MemoryFault
from .ptx import Instruction, Variable

if TYPE_CHECKING:
    from .batch import Batch

BASE = 1 << 16  # nothing lies below it in a process
WINDOWS = {"global": 0, "shared": 1 << 60, "local": 2 << 60, "param": 3 << 60}  # of generic addresses
STRIDE = 128  # a round of all banks
GARBAGE = 0xFF  # four of these bytes are a NaN
WIDTHS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class Allocations:
    """The arrays that kernels may touch: addresses of this process."""

    def __init__(self) -> None:
        """None at first."""
        self.sizes: dict[int, int] = {}
        self._sorted: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, address: int, size: int) -> None:
        """An array lives from `address` on."""
        if size:
            self.sizes[address] = size
            self._sorted = None

    def remove(self, address: int) -> None:
        """It is gone."""
        self.sizes.pop(address, None)
        self._sorted = None

    def spans(self) -> tuple[np.ndarray, np.ndarray]:
        """Where they start, in order, and where they end."""
        while (result := self._sorted) is None:
            sizes = self.sizes.copy()  # a collection of garbage may free arrays at any time
            starts = np.array(sorted(sizes), dtype=np.uint64)
            ends = starts + np.array([sizes[int(start)] for start in starts], dtype=np.uint64)
            if sizes == self.sizes:
                self._sorted = starts, ends
        return result

    def inside(self, addresses: np.ndarray, size: int) -> np.ndarray | None:
        """Which of the accesses lie in one array each; None if all do."""
        starts, ends = self.spans()
        low, high = addresses.min(), addresses.max()
        at = int(np.searchsorted(starts, low, "right")) - 1
        if at >= 0 and high + np.uint64(size) <= ends[at]:
            return None
        found = np.searchsorted(starts, addresses, "right") - 1
        good = (found >= 0) & (addresses + np.uint64(size) <= ends[np.maximum(found, 0)]) if len(starts) else found > 0
        return None if good.all() else good


allocations = Allocations()


class _Everything:
    """The whole address space of the process as an array."""

    __array_interface__ = {"data": (BASE, False), "shape": ((1 << 47) - BASE,), "typestr": "|u1", "version": 3}  # noqa: RUF012


def layout(variables: list[Variable], start: int = 0) -> tuple[dict[str, int], int]:
    """Where each variable lies behind those before it, and the size of all."""
    places = {}
    for variable in variables:
        start = -(-start // variable.align) * variable.align
        places[variable.name] = start
        start += variable.size
    return places, start


def views(data: np.ndarray) -> dict[int, np.ndarray]:
    """Bytes as whole numbers of each width."""
    return {width: data.view(kind) for width, kind in WIDTHS.items()}


class Space:
    """One kind of memory. `views` are its bytes as whole numbers; `place` says where addresses lie in them."""

    name = ""
    views: dict[int, np.ndarray]

    def __init__(self, batch: Batch) -> None:
        """Batch: whose threads see it."""
        self.batch = batch

    def place(
        self, addresses: np.ndarray, lanes: np.ndarray | None, size: int, at: Instruction, length: int = 0
    ) -> np.ndarray:
        """The byte in `views` of each address, all of them checked. lanes: the threads that ask; None for all.

        size: what addresses are multiples of. length: how many bytes are used, if not as many.
        """
        if addresses.size == 0:
            return addresses.astype(np.int64)
        if (addresses & np.uint64(size - 1)).any():
            bad = int(np.flatnonzero(addresses & np.uint64(size - 1))[0])
            what = f"{int(addresses[bad]):#x} in {self.name} memory is no multiple of {size}"
            raise self.batch.fault(MemoryFault, at, bad if lanes is None else int(lanes[bad]), what)
        length = length or size
        good = self.inside(addresses, lanes, length)
        if good is not None:
            bad = int(np.flatnonzero(~good)[0])
            what = self.outside(int(addresses[bad]), length)
            raise self.batch.fault(MemoryFault, at, bad if lanes is None else int(lanes[bad]), what)
        return self.bytes(addresses, lanes)

    def inside(self, addresses: np.ndarray, lanes: np.ndarray | None, size: int) -> np.ndarray | None:
        """Which accesses are allowed; None if all are."""
        raise NotImplementedError

    def outside(self, address: int, size: int) -> str:
        """What to say of one that is not."""
        return f"{size} bytes at {address:#x} lie outside {self.name} memory"

    def bytes(self, addresses: np.ndarray, lanes: np.ndarray | None) -> np.ndarray:
        """Where they lie in `views`."""
        raise NotImplementedError


class Global(Space):
    """Arrays of the host."""

    name = "global"
    views = views(np.asarray(_Everything()))

    def inside(self, addresses: np.ndarray, lanes: np.ndarray | None, size: int) -> np.ndarray | None:
        return allocations.inside(addresses, size)

    def outside(self, address: int, size: int) -> str:
        window = next((name for name, start in WINDOWS.items() if start and start >> 60 == address >> 60), "")
        if window:
            return f"{size} bytes at {address:#x} lie in {window} memory, not in global memory"
        starts, ends = (places.tolist() for places in allocations.spans())
        before = [number for number, start in enumerate(starts) if start <= address]
        if not before:
            return f"{size} bytes at {address:#x} lie in no array"
        start, end = starts[before[-1]], ends[before[-1]]
        after = f"{address - start} bytes after the start of one that has {end - start} bytes"
        return f"{size} bytes at {address:#x} lie in no array: {after}"

    def bytes(self, addresses: np.ndarray, lanes: np.ndarray | None) -> np.ndarray:
        return addresses.astype(np.int64) - BASE


class Windowed(Space):
    """Memory that every block or every thread has a piece of, addressed from 0."""

    def __init__(self, batch: Batch, name: str, size: int, pieces: int, owner: Any) -> None:
        """Owner: the number of the piece of each thread, or the one of all."""
        super().__init__(batch)
        self.name, self.size = name, size
        self.stride = -(-size // STRIDE) * STRIDE
        self.data = np.full(max(self.stride * pieces, 16), GARBAGE, np.uint8)
        self.views = views(self.data)
        self.start = np.asarray(owner, np.int64) * self.stride

    def inside(self, addresses: np.ndarray, lanes: np.ndarray | None, size: int) -> np.ndarray | None:
        if addresses.max() + np.uint64(size) <= np.uint64(self.size):
            return None
        return addresses <= self.size - size if size <= self.size else np.zeros(addresses.shape, bool)

    def outside(self, address: int, size: int) -> str:
        return f"{size} bytes at {address} lie outside the {self.size} bytes of {self.name} memory"

    def bytes(self, addresses: np.ndarray, lanes: np.ndarray | None) -> np.ndarray:
        start = self.start if lanes is None or self.start.ndim == 0 else self.start[lanes]
        return addresses.astype(np.int64) + start
