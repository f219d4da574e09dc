"""Which tiles a matrix product on tensor cores is cut into, and into how many splits its reduction.

The choice depends on shapes, and on whether arrays lie so that 16 bytes can be copied at once. It knows one GPU's
number of multiprocessors, so results are the same bit for bit on all. It comes from instructions and bytes that were
counted, and has not been measured on a device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from typing import Any

DEPTH = 32  # of the reduction, in a step: as in tile.cuh
MULTIPROCESSORS = 132  # of an H100 or H200
PRODUCTS = 640  # multiplications of a multiprocessor in a clock: what `mma.sync` reaches of 1024
MMA = 16 * 8 * 8  # multiplications of an instruction
ROUNDING = {1: 1.75, 3: 4.25}  # instructions to load a number and to round it, by products, counted in machine code
ADDING = {1: 0, 3: 4 / 3}  # instructions to add what one of them gave to the sums, by products
COPY = 10  # instructions for a copy, counted likewise: 8 in a convolution, 14 in the gradient of its weight
SCHEDULERS = 4  # each of which starts an instruction in a clock
BLOCK = 2000  # clocks to begin and to end a block
ALONE = 0.5  # how much longer a block takes by itself, of its time: with n of them, a part of n of that
KERNEL = 5000  # clocks to start one more kernel, the one that adds splits
TRAFFIC = 1500  # bytes in a clock from and to memory


@dataclass(frozen=True)
class Tile:
    """What a block of threads computes: rows x columns, in warps of warp_rows x warp_columns.

    blocks: how many a multiprocessor is to hold, by which the compiler limits registers.
    """

    rows: int
    columns: int
    warp_rows: int
    warp_columns: int
    blocks: int
    stages: int = 3

    @property
    def threads(self) -> int:
        """Of a block."""
        return 32 * (self.rows // self.warp_rows) * (self.columns // self.warp_columns)

    @property
    def shared(self) -> int:
        """Bytes of shared memory."""
        return self.stages * (self.rows + self.columns) * DEPTH * 4

    @property
    def defines(self) -> dict[str, int]:
        """What the preprocessor is told."""
        return {
            "BM": self.rows,
            "BN": self.columns,
            "WM": self.warp_rows,
            "WN": self.warp_columns,
            "STAGES": self.stages,
            "BLOCKS": self.blocks,
        }

    def within(self, room: int) -> Tile:
        """Two stages deep where `room` bytes of shared memory hold no three; the sums are the same bit for bit."""
        return self if self.shared <= room else replace(self, stages=2)

    def clocks(self, products: int, vector: int) -> float:
        """Of a multiprocessor for a step: its tensor cores', its shared memory's or its schedulers', whose are most."""
        warps, sides, numbers = self.threads // 32, self.warp_rows + self.warp_columns, self.rows + self.columns
        multiplications = self.rows * self.columns * DEPTH * products
        passes = warps * sides + numbers
        copies = numbers * DEPTH // vector // self.threads
        instructions = warps * (ROUNDING[products] * sides + COPY * copies)
        instructions += multiplications // MMA * (1 + ADDING[products])
        return max(multiplications / PRODUCTS, passes, instructions / SCHEDULERS)


TILES = (
    Tile(128, 128, 64, 64, 2),
    Tile(128, 64, 64, 32, 2),
    Tile(64, 128, 32, 64, 2),
    Tile(64, 256, 64, 64, 2),
    Tile(64, 64, 32, 32, 3),
    Tile(256, 32, 64, 32, 2),
    Tile(32, 256, 32, 64, 2),
    Tile(128, 32, 32, 32, 3),
    Tile(32, 128, 32, 32, 3),
)


@dataclass(frozen=True)
class Plan:
    """How a product is computed: a reduction of `steps` steps in each of `splits` splits."""

    tile: Tile
    splits: int
    steps: int

    def blocks(self, rows: int, columns: int, batch: int) -> int:
        """Blocks for `batch` products."""
        return ceil(rows / self.tile.rows) * ceil(columns / self.tile.columns) * batch * self.splits

    def within(self, room: int) -> Plan:
        """With a tile that `room` bytes of shared memory hold."""
        return replace(self, tile=self.tile.within(room))

    def __str__(self) -> str:
        """As `explain` says it."""
        tile = f"tiles of {self.tile.rows} x {self.tile.columns} in {self.tile.stages} stages"
        return tile if self.splits == 1 else f"{tile}, {self.splits} splits of the sums added in order"


def tiles(products: int, vector: int) -> tuple[Tile, ...]:
    """Those whose sums leave enough registers: for three products, for the places of numbers copied one by one.

    Two blocks of them at once, as the compiler spills some numbers rather than leave registers to a third.
    """
    if vector == 1:
        return tuple(replace(tile, blocks=2) for tile in TILES if tile.rows <= 64 and tile.columns <= 64)
    if products == 1:
        return TILES
    few = [tile for tile in TILES if tile.rows <= 128 and tile.rows * tile.columns <= 128 * 64]
    return tuple(replace(tile, blocks=2) for tile in few)


@cache
def plan(rows: int, columns: int, depth: int, batch: int, products: int, vector: int) -> Plan:
    """For `batch` products of rows x depth with depth x columns: what takes the fewest clocks.

    vector: how many numbers are copied at once.
    """
    best: Any = None
    steps = max(1, ceil(depth / DEPTH))
    for tile in tiles(products, vector):
        blocks = Plan(tile, 1, steps).blocks(rows, columns, batch)
        for waves in range(1, 9):
            splits = max(1, min(steps, waves * MULTIPROCESSORS // blocks))
            each = ceil(steps / splits)
            splits = ceil(steps / each)
            turns = ceil(blocks * splits / MULTIPROCESSORS)
            clocks = turns * (each * tile.clocks(products, vector) + BLOCK) * (1 + ALONE / min(turns, tile.blocks))
            if splits > 1:
                clocks += KERNEL + 8 * splits * rows * columns * batch / TRAFFIC
            if best is None or clocks < best[0]:
                best = clocks, Plan(tile, splits, each)
    return best[1]
