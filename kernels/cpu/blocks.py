"""What the losses of labelled pixels share: blocks of pixels in the order of classes, so that vectors are of pixels.

A kernel takes a block of some pixels, whose scores for one class lie side by side in scratch memory, `pitch` numbers
from class to class.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from ..layout import Array
from . import machine, mathematics
from .elementwise import runs
from .interleave import few, pixels, planes
from .jit import VIEWS, inlined
from .machine import LINE
from .parallel import SMALL, run, strided
from .stream import write
from .vector import Words

Kind = tuple[np.dtype, int, int]  # what a kernel is compiled for: dtype, lanes, and the classes where they are few

SPLITS = 64  # partial sums. It sets the order of the sums, so it must not depend on the threads
LANES = 16  # a block is a multiple of this, which is one of every vector
MOST = 256  # pixels in a block, fewer where
NUMBERS = 4096  # there are more scores in it than this
FURTHER = 4  # numbers for each pixel besides


class Blocks:
    """The blocks that channels-last scores and their labels are cut into."""

    def __init__(self, scores: Array, labels: Array, ignored: int) -> None:
        """scores: (N, K, H, W). labels: (N, H, W), any integers. ignored: the label of pixels that do not count."""
        n, self.classes, h, w = scores.shape
        self.dtype = scores.dtype
        self._labels, self._ignored = np.ascontiguousarray(labels, np.int64), ignored
        place, rows, columns = strided(scores), h, w
        if scores.size and runs([scores]).count == 1:  # all pixels are one row
            place, n, rows, columns = (place[0], 0, 0, self.classes * scores.itemsize), 1, 1, n * h * w
        self.most = min(MOST, max(1, NUMBERS // max(1, self.classes) // LANES) * LANES)
        self.pitch = self.most + LANES  # no power of 2, else the classes of a pixel would share a few sets of the cache
        self.items = n * rows * -(-columns // self.most) if scores.size else 0
        lanes = machine.vectors().lanes(self.dtype)
        self._kind: Kind = self.dtype, lanes, few(lanes, self.classes)
        shape = (rows, columns, self.classes, self.most, self.pitch, ignored)
        self._arguments = (place, self._labels.ctypes.data, shape)
        self._small = scores.nbytes < SMALL

    def run(self, make: Callable[[Kind], Any], *arguments: Any) -> None:
        """Run a kernel over all blocks."""
        self._run(make, self.items, *self._arguments, *arguments)

    def sums(self, make: Callable[[Kind], Any], count: int, *arguments: Any) -> Array:
        """`count` float64 sums over all pixels: partial sums, which the kernel keeps for each split, added in order."""
        partial = np.zeros((min(SPLITS, self.items), count))
        self._run(make, len(partial), partial.ctypes.data, count, self.items, *self._arguments, *arguments)
        with np.errstate(all="ignore"):  # infinities that cancel or overflow are the caller's
            return partial.sum(axis=0)

    def counted(self) -> int:
        """How many pixels count."""
        return int(np.count_nonzero(self._labels != self._ignored))

    def _run(self, make: Callable[[Kind], Any], items: int, *arguments: Any) -> None:
        rows = max(self.classes, self._kind[1])  # `planes` writes whole vectors
        numbers = (2 * rows + FURTHER) * self.pitch
        run(make(self._kind), items, *arguments, scratch=numbers * self.dtype.itemsize + LINE, small=self._small)


@cache
def leaving_out(dtype: np.dtype) -> Any:
    """A function that makes the scores of pixels 0 that do not count; branches cost more, where the void is ragged."""
    view, size = VIEWS[dtype.name], dtype.itemsize

    @inlined
    def leave_out(block, label, ignored, some, classes, pitch):  # type: ignore[no-untyped-def]
        void = 0
        for j in range(some):
            void += label[j] == ignored
        for k in range(classes if void else 0):
            score = view(block + k * pitch * size, some)
            for j in range(some):
                score[j] = 0 if label[j] == ignored else score[j]

    return leave_out


@inlined
def look_up(own, weight, label, ignored, some):  # type: ignore[no-untyped-def]
    """own[j] = weight[label[j]], 0 where the pixel does not count."""
    for j in range(some):
        own[j] = weight[label[j] if label[j] != ignored else 0]
    for j in range(some):
        own[j] = own[j] if label[j] != ignored else 0


@cache
def loading(kind: Kind) -> Any:
    """A function that brings a block into the order of classes, 0 where pixels do not count or are no more.

    stage: memory for the block in the order of pixels.
    """
    dtype, lanes, classes = kind
    view, size, copy, take_apart = VIEWS[dtype.name], dtype.itemsize, write(dtype), planes(dtype, lanes, classes)
    leave_out = leaving_out(dtype)

    @inlined
    def load(block, stage, at, step, label, ignored, some, classes, pitch):  # type: ignore[no-untyped-def]
        if step == classes * size:
            copy(stage, at, some * classes, 0)
        else:
            for j in range(some):
                copy(stage + j * classes * size, at + j * step, classes, 0)
        take_apart(block, stage, pitch * size, classes, some)
        leave_out(block, label, ignored, some, classes, pitch)
        for k in range(classes):
            view(block + k * pitch * size, (some + LANES - 1) // LANES * LANES)[some:] = 0

    return load


@cache
def unloading(kind: Kind) -> Any:
    """A function that brings a block back into the order of pixels, in `stage`, 0 where they do not count."""
    dtype, lanes, classes = kind
    put_together, leave_out, size = pixels(dtype, lanes, classes), leaving_out(dtype), dtype.itemsize

    @inlined
    def unload(block, stage, label, ignored, some, classes, pitch):  # type: ignore[no-untyped-def]
        leave_out(block, label, ignored, some, classes, pitch)
        put_together(stage, block, pitch * size, classes, some)

    return unload


@cache
def exponentials(kind: Kind, *, stored: bool) -> Any:
    """largest[j] = max over k of z[k,j]; total[j] = sum over k of exp(z[k,j] - largest[j]).

    An intrinsic (block, classes, pitch, count, largest, total): addresses, and pitch in bytes. It computes whole
    vectors. If `stored`, the exponentials replace z.
    """
    dtype, lanes, *_ = kind

    @intrinsic
    def block_exponentials(typing_context, block, classes, pitch, count, largest, total):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            block, classes, pitch, count, largest, total = arguments
            words = Words(builder, dtype, lanes)
            end = builder.mul(classes, pitch)

            def pixels(offset: Any) -> list[Any]:
                start = builder.add(block, offset)

                def larger(at: Any, so_far: Any) -> list[Any]:
                    return [words.greater(words.load(builder.add(start, at)), so_far)]

                def add(at: Any, so_far: Any) -> list[Any]:
                    place = builder.add(start, at)
                    value = mathematics.exp(words, builder.fsub(words.load(place), most))
                    if stored:
                        words.store(value, place)
                    return [builder.fadd(so_far, value)]

                _, (most,) = words.loop(pitch, end, pitch, [words.load(start)], larger)
                _, (sums,) = words.loop(words.integer(0), end, pitch, [words.zero()], add)
                words.store(most, builder.add(largest, offset))
                words.store(sums, builder.add(total, offset))
                return []

            words.loop(words.integer(0), builder.mul(count, words.integer(words.size)), lanes * words.size, [], pixels)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), emit

    return block_exponentials
