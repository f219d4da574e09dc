"""A few words of vector language over llvmlite: what the tiles are written in.

Addresses are 64-bit integers. A vector is `lanes` numbers of one float type, in a register where one is that wide.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

INT = ir.IntType(64)


class Words:
    """The words, spoken into one builder."""

    def __init__(self, builder: Any, dtype: np.dtype, lanes: int) -> None:
        """builder: of the function that is emitted; dtype: float32 or float64."""
        self.builder = builder
        self.scalar = ir.FloatType() if dtype.itemsize == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.scalar, lanes)
        self.lanes = lanes
        self.size = dtype.itemsize

    def integer(self, value: int) -> ir.Constant:
        """A constant."""
        return ir.Constant(INT, value)

    def _pointer(self, address: Any, offset: int, kind: Any) -> Any:
        if offset:
            address = self.builder.add(address, self.integer(offset))
        return self.builder.inttoptr(address, kind.as_pointer())

    def load_integer(self, address: Any, offset: int = 0) -> Any:
        """The 64-bit integer at `address` + `offset`."""
        return self.builder.load(self._pointer(address, offset, INT))

    def load(self, address: Any, offset: int = 0) -> Any:
        """The vector at `address` + `offset`, which need not be aligned."""
        value = self.builder.load(self._pointer(address, offset, self.vector))
        value.align = self.size
        return value

    def store(self, value: Any, address: Any, offset: int = 0) -> None:
        """Write a vector."""
        self.builder.store(value, self._pointer(address, offset, self.vector)).align = self.size

    def broadcast(self, address: Any, offset: int = 0) -> Any:
        """One number, in every lane."""
        number = self.builder.load(self._pointer(address, offset, self.scalar))
        number.align = self.size
        undefined = ir.Constant(self.vector, ir.Undefined)
        index = ir.IntType(32)
        first = self.builder.insert_element(undefined, number, ir.Constant(index, 0))
        return self.builder.shuffle_vector(
            first, undefined, ir.Constant(ir.VectorType(index, self.lanes), [0] * self.lanes)
        )

    def zero(self) -> ir.Constant:
        """0 in every lane."""
        return ir.Constant(self.vector, [0.0] * self.lanes)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, rounded once where the CPU can."""
        function = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fmuladd.v{self.lanes}f{8 * self.size}"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, function, name), [a, b, c])

    def rectify(self, a: Any) -> Any:
        """max(a, 0), NaN staying NaN."""
        return self.builder.select(self.builder.fcmp_ordered("<", a, self.zero()), self.zero(), a)

    def where_not_positive(self, y: Any, a: Any) -> Any:
        """0 where y <= 0, a elsewhere: also where y is NaN."""
        return self.builder.select(self.builder.fcmp_ordered("<=", y, self.zero()), self.zero(), a)

    def loop(
        self, start: Any, stop: Any, step: int, carried: Sequence[Any], body: Callable[..., list[Any]]
    ) -> tuple[Any, list[Any]]:
        """`for i in range(start, stop, step): carried = body(i, *carried)`; returns the first unused i, and carried."""
        builder = self.builder
        before = builder.block
        head, inside, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(INT)
        phis = [builder.phi(value.type) for value in carried]
        index.add_incoming(start, before)
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value, before)
        builder.cbranch(builder.icmp_signed("<", index, stop), inside, after)
        builder.position_at_end(inside)
        results = body(index, *phis)
        following = builder.add(index, self.integer(step))
        index.add_incoming(following, builder.block)
        for phi, value in zip(phis, results, strict=True):
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return index, phis

    def choose(self, condition: Any, yes: Callable[[], list[Any]], no: Callable[[], list[Any]]) -> list[Any]:
        """`yes()` if condition else `no()`, only one of which runs; condition is an integer."""
        builder = self.builder
        blocks = [builder.append_basic_block(name) for name in ("yes", "no", "joined")]
        builder.cbranch(builder.icmp_signed("!=", condition, self.integer(0)), blocks[0], blocks[1])
        ends = []
        for block, branch in zip(blocks, (yes, no), strict=False):
            builder.position_at_end(block)
            values = branch()
            ends.append((values, builder.block))
            builder.branch(blocks[2])
        builder.position_at_end(blocks[2])
        phis = [builder.phi(value.type) for value in ends[0][0]]
        for values, block in ends:
            for phi, value in zip(phis, values, strict=True):
                phi.add_incoming(value, block)
        return phis
