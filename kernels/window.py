"""Kernel, stride, padding, dilation: every size rule once, in Python ints.

Sizes follow Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016).
"""

from dataclasses import dataclass
from math import ceil

Pair = tuple[int, int]
Sides = tuple[Pair, Pair]  # ((top, bottom), (left, right))


@dataclass(frozen=True)
class Window:
    """A kernel sliding over a map: its size, step, border and the distance of its taps."""

    kernel: Pair
    stride: Pair
    padding: Sides
    dilation: Pair

    @property
    def extent(self) -> Pair:
        """Pixels from the kernel's first tap to its last, both counted: d * (k - 1) + 1."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return dh * (kh - 1) + 1, dw * (kw - 1) + 1

    @property
    def taps(self) -> int:
        """How many taps the kernel has."""
        return self.kernel[0] * self.kernel[1]

    @property
    def pointwise(self) -> bool:
        """True where every pixel is a window of its own."""
        return self.kernel == self.stride == (1, 1) and self.padding == ((0, 0), (0, 0))

    @property
    def spare(self) -> Pair:
        """By how much less than this a transposed map may be larger than it needs: max(stride, dilation)."""
        (sh, sw), (dh, dw) = self.stride, self.dilation
        return max(sh, dh), max(sw, dw)

    def output_size(self, size: Pair, *, ceil_mode: bool = False) -> Pair:
        """Windows that fit a map of `size`: floor((h + top + bottom - extent) / stride) + 1, below 1 where none fits.

        With `ceil_mode` a last, partly filled window counts, provided it starts inside the map or its leading padding.
        """
        rows, columns = (self._output_length(axis, size[axis], ceil_mode) for axis in (0, 1))
        return rows, columns

    def _output_length(self, axis: int, length: int, ceil_mode: bool) -> int:
        before, after = self.padding[axis]
        stride = self.stride[axis]
        free = length + before + after - self.extent[axis]
        if not ceil_mode or free % stride == 0:
            return free // stride + 1
        count = free // stride + 2
        return count - 1 if (count - 1) * stride >= length + before else count

    def all_meet(self, size: Pair, count: Pair) -> bool:
        """True where each of `count` windows has a tap on the map. Padding of half a kernel can break it if dilated."""
        for axis in (0, 1):
            step = self.dilation[axis]
            for i in range(count[axis] if step > 1 or not size[axis] else 0):
                start = i * self.stride[axis] - self.padding[axis][0]
                tap = max(0, -(start // step))  # the first that is not before the map
                if tap >= self.kernel[axis] or start + tap * step >= size[axis]:
                    return False
        return True

    def transposed_size(self, size: Pair, output_padding: Pair = (0, 0)) -> Pair:
        """The smallest map with `size` windows, plus `output_padding`: (h - 1) s - pads + extent + output_padding."""
        rows, columns = (
            (size[axis] - 1) * self.stride[axis] - sum(self.padding[axis]) + self.extent[axis] + output_padding[axis]
            for axis in (0, 1)
        )
        return rows, columns


def same_padding(size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> Sides:
    """Padding that gives ceil(size / stride) outputs; an odd pixel goes to the bottom and right (ONNX SAME_UPPER)."""

    def sides(length: int, k: int, s: int, d: int) -> Pair:
        total = max((ceil(length / s) - 1) * s + d * (k - 1) + 1 - length, 0)
        return total // 2, total - total // 2

    rows, columns = (sides(*each) for each in zip(size, kernel, stride, dilation, strict=True))
    return rows, columns
