"""Tensor cores: matrix products of a warp, and the loads that lay matrices out for them."""

from __future__ import annotations

import numpy as np

from .access import addresses
from .batch import Batch
from .faults import ConvergenceFault
from .ptx import Instruction, Operand, Vector
from .rounding import to_float32
from .steps import WARP, Lanes, Step, Where, instruction, spread

TENSOR_FLOAT = np.uint32(0xFFFFE000)  # the bits of a float32 that a tf32 product sees


def items(operand: Operand) -> tuple[Operand, ...]:
    """The registers of a fragment."""
    return operand.items if isinstance(operand, Vector) else (operand,)


def whole_warps(batch: Batch, lanes: Lanes, at: Instruction) -> np.ndarray:
    """The numbers of the warps that take part, all of whose threads must."""
    if lanes is None:
        return np.arange(batch.count // WARP)
    warps, present = np.unique(lanes // WARP, return_counts=True)
    if (present < WARP).any():
        lane = int(warps[int(np.argmin(present))]) * WARP
        raise batch.fault(ConvergenceFault, at, lane, "not all threads of its warp take part")
    return warps


@instruction("mma")
def multiply(batch: Batch, at: Instruction) -> Step:
    """mma.sync.aligned.m16n8k8 (and k4).row.col.f32.tf32.tf32.f32 d, a, b, c;: d = a b + c in float64, then cut off.

    PTX leaves the rounding open. Tensor cores round towards 0: Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior
    of NVIDIA tensor cores", 2021.
    """
    shapes = {"m16n8k4": 4, "m16n8k8": 8}
    if at.parts[3] not in shapes or at.parts[4:] != ("row", "col", "f32", "tf32", "tf32", "f32"):
        raise batch.unknown(at)
    depth = shapes[at.parts[3]]
    d, a, b, c = map(items, at.operands)
    if (len(a), len(b), len(c), len(d)) != (depth // 2, depth // 4, 4, 4):
        raise batch.unknown(at)
    left, right = ([batch.read(item, "b32") for item in each] for each in (a, b))
    added, results = [batch.read(item, "f32") for item in c], [batch.target(item, "f32") for item in d]

    def fragment(bits: np.ndarray, warps: np.ndarray) -> np.ndarray:
        values = (spread(bits, None, batch.count).reshape(-1, 8, 4)[warps] & TENSOR_FLOAT).view(np.float32)
        return values.astype(np.float64)

    def step(_: Where, lanes: Lanes) -> None:
        warps = whole_warps(batch, lanes, at)
        rows = np.empty((len(warps), 16, depth))
        columns = np.empty((len(warps), 8, depth))
        for number, bits in enumerate(left):
            half, part = number % 2, number // 2
            rows[:, 8 * half : 8 * half + 8, 4 * part : 4 * part + 4] = fragment(bits, warps)
        for part, bits in enumerate(right):
            columns[:, :, 4 * part : 4 * part + 4] = fragment(bits, warps)
        products = np.matmul(rows, columns.transpose(0, 2, 1))
        sums = [
            spread(values, None, batch.count).reshape(-1, 8, 4)[warps]
            + products[:, 8 * (number // 2) : 8 * (number // 2) + 8, number % 2 :: 2]
            for number, values in enumerate(added)
        ]
        for target, value in zip(results, sums, strict=True):
            target.reshape(-1, 8, 4)[warps] = to_float32(value, "rz")

    return step


@instruction("ldmatrix")
def load_matrices(batch: Batch, at: Instruction) -> Step:
    """ldmatrix.sync.aligned.m8n8.x1/x2/x4[.trans].shared.b16 d, [a];: thread r gives the address of row r."""
    if at.parts[:4] != ("ldmatrix", "sync", "aligned", "m8n8") or at.parts[-1] != "b16":
        raise batch.unknown(at)
    matrices, transposed = int(at.parts[4][1:]), "trans" in at.parts
    targets = [batch.target(item, "b32") for item in items(at.operands[0])]
    where_is = addresses(batch, at.operands[1])

    def step(_: Where, lanes: Lanes) -> None:
        warps = whole_warps(batch, lanes, at)
        giving = (warps[:, None] * WARP + np.arange(8 * matrices)).reshape(-1)
        space = batch.spaces["shared"]
        index = space.place(where_is(None)[giving], giving, 16, at)
        batch.observe_read(space, index, giving, 16, at)
        halves = space.views[2].reshape(-1, 8).take(index // 16, axis=0).reshape(len(warps), matrices, 8, 8)
        if transposed:
            halves = np.ascontiguousarray(halves.transpose(0, 1, 3, 2))
        words = halves.view(np.uint32).reshape(len(warps), matrices, WARP)
        for number, target in enumerate(targets):
            target.reshape(-1, WARP)[warps] = words[:, number]

    return step
