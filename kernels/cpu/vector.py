"""A few words of vector language over llvmlite: what the tiles are written in.

Addresses are 64-bit integers. A vector is `lanes` numbers of one float type, in a register where one is that wide.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from .machine import LINE

INT = ir.IntType(64)


class Words:
    """The words, spoken into one builder."""

    def __init__(self, builder: Any, dtype: np.dtype, lanes: int) -> None:
        """builder: of the function that is emitted; dtype: float32 or float64, or integers, only to move them."""
        self.builder = builder
        floats = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
        self.scalar = floats.get(dtype.name, ir.IntType(8 * dtype.itemsize))
        self.vector = ir.VectorType(self.scalar, lanes)
        self.bits = ir.VectorType(ir.IntType(8 * dtype.itemsize), lanes)
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

    def stream(self, value: Any, address: Any) -> None:
        """Write a vector past the caches, to an address that is a multiple of its size or of a cache line's."""
        store = self.builder.store(value, self._pointer(address, 0, self.vector))
        store.align = min(LINE, self.lanes * self.size)
        store.set_metadata("nontemporal", self.builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))

    def prefetch(self, address: Any, *, write: bool = False) -> None:
        """Ask for a cache line that will soon be read, or written."""
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        target = cgutils.get_or_insert_function(self.builder.module, function, "llvm.prefetch.p0")
        flags = [ir.Constant(word, flag) for flag in (int(write), 3, 1)]  # keep in all levels; data
        self.builder.call(target, [self.builder.inttoptr(address, byte), *flags])

    def unpacked(self, numbers: Any) -> list[Any]:
        """The members of a tuple."""
        return [self.builder.extract_value(numbers, i) for i in range(len(numbers.type))]

    def below(self, count: Any) -> Any:
        """Which lanes have a number smaller than `count`."""
        index = ir.IntType(32)
        lanes = ir.Constant(ir.VectorType(index, self.lanes), list(range(self.lanes)))
        limit = self.repeated(self.builder.trunc(count, index))
        return self.builder.icmp_signed("<", lanes, limit)

    def load_some(self, address: Any, which: Any) -> Any:
        """The vector at `address`, 0 in the lanes that are not `which`: their memory is not touched."""
        pointer = self._pointer(address, 0, self.vector)
        index = ir.IntType(32)
        function = ir.FunctionType(self.vector, [pointer.type, index, which.type, self.vector])
        name = f"llvm.masked.load.v{self.lanes}f{8 * self.size}.p0"
        call = cgutils.get_or_insert_function(self.builder.module, function, name)
        return self.builder.call(call, [pointer, ir.Constant(index, self.size), which, self.zero()])

    def store_some(self, value: Any, address: Any, which: Any) -> None:
        """Write the lanes that are `which`, and touch no other memory."""
        pointer = self._pointer(address, 0, self.vector)
        index = ir.IntType(32)
        function = ir.FunctionType(ir.VoidType(), [self.vector, pointer.type, index, which.type])
        name = f"llvm.masked.store.v{self.lanes}f{8 * self.size}.p0"
        call = cgutils.get_or_insert_function(self.builder.module, function, name)
        self.builder.call(call, [value, pointer, ir.Constant(index, self.size), which])

    def picked(self, vectors: Sequence[Any], lanes: Sequence[int]) -> Any:
        """Lane i of the result is lane lanes[i] of the `vectors`, counted through."""
        if len(vectors) == 1 and list(lanes) == list(range(self.lanes)):
            return vectors[0]
        index = ir.VectorType(ir.IntType(32), self.lanes)
        result = ir.Constant(self.vector, ir.Undefined)
        for number, vector in enumerate(vectors):  # lanes of this vector come second, the others stay
            mask = [
                self.lanes + lane % self.lanes if lane // self.lanes == number else place
                for place, lane in enumerate(lanes)
            ]
            if mask != list(range(self.lanes)):
                result = self.builder.shuffle_vector(result, vector, ir.Constant(index, mask))
        return result

    def until_aligned(self, address: Any, end: Any, unit: int) -> Any:
        """How many bytes `address` is short of a multiple of `unit` (a power of 2), but at most `end`."""
        builder = self.builder
        short = builder.and_(builder.neg(address), self.integer(unit - 1))
        return builder.select(builder.icmp_signed("<", short, end), short, end)

    def broadcast(self, address: Any, offset: int = 0) -> Any:
        """One number, in every lane."""
        number = self.builder.load(self._pointer(address, offset, self.scalar))
        number.align = self.size
        return self.repeated(number)

    def repeated(self, number: Any) -> Any:
        """A number, in every lane."""
        vector = ir.VectorType(number.type, self.lanes)
        undefined, index = ir.Constant(vector, ir.Undefined), ir.IntType(32)
        first = self.builder.insert_element(undefined, number, ir.Constant(index, 0))
        return self.builder.shuffle_vector(
            first, undefined, ir.Constant(ir.VectorType(index, self.lanes), [0] * self.lanes)
        )

    def rounded(self, number: Any) -> Any:
        """A float64 as a number of the words' dtype; any other number as it is."""
        return self.builder.fptrunc(number, self.scalar) if number.type == ir.DoubleType() != self.scalar else number

    def constant(self, value: float) -> ir.Constant:
        """`value`, rounded to the words' dtype, in every lane."""
        return ir.Constant(self.vector, [value] * self.lanes)

    def element(self, vector: Any, lane: int) -> Any:
        """The number in one lane."""
        return self.builder.extract_element(vector, ir.Constant(ir.IntType(32), lane))

    def zero(self) -> ir.Constant:
        """0 in every lane."""
        return self.constant(0.0)

    def places(self, first: Any, step: Any) -> Any:
        """first, first + step, ...: 64-bit integers, one in each lane."""
        lanes = ir.Constant(ir.VectorType(INT, self.lanes), list(range(self.lanes)))
        return self.builder.add(self.repeated(first), self.builder.mul(lanes, self.repeated(step)))

    def pattern(self, value: int) -> ir.Constant:
        """The integer `value`, as wide as a number, in every lane."""
        return ir.Constant(self.bits, [value] * self.lanes)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, rounded once where the CPU can."""
        return self._call("fmuladd", a, b, c)

    def magnitude(self, a: Any) -> Any:
        """|a|."""
        return self._call("fabs", a)

    def with_sign(self, a: Any, b: Any) -> Any:
        """|a| with the sign of b."""
        return self._call("copysign", a, b)

    def _call(self, name: str, *numbers: Any) -> Any:
        function = ir.FunctionType(self.vector, [self.vector] * len(numbers))
        name = f"llvm.{name}.v{self.lanes}f{8 * self.size}"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, function, name), numbers)

    def greater(self, a: Any, b: Any) -> Any:
        """max(a, b), and b where either is NaN."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def less(self, a: Any, b: Any) -> Any:
        """min(a, b), and b where either is NaN."""
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)

    def rectify(self, a: Any) -> Any:
        """max(a, 0), NaN staying NaN."""
        return self.builder.select(self.builder.fcmp_ordered("<", a, self.zero()), self.zero(), a)

    def where_not_positive(self, y: Any, a: Any) -> Any:
        """0 where y <= 0, a elsewhere: also where y is NaN."""
        return self.builder.select(self.builder.fcmp_ordered("<=", y, self.zero()), self.zero(), a)

    def loop(
        self, start: Any, stop: Any, step: Any, carried: Sequence[Any], body: Callable[..., list[Any]]
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
        following = builder.add(index, self.integer(step) if isinstance(step, int) else step)
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
