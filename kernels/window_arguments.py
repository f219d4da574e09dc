"""What operators with windows accept beside numbers and arrays: windows, and the sizes that follow from them."""

from typing import Any

from .arguments import LIMIT, Arguments
from .layout import Array
from .window import Pair, Window, same_padding


class WindowArguments(Arguments):
    """The checks for one operator whose windows slide over maps."""

    def __init__(self, name: str, kernel: str = "kernel_size") -> None:
        """name: the public function's. kernel: the argument that says how large its windows are."""
        super().__init__(name)
        self.kernel = kernel

    def window(
        self,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        size: Pair | None = None,
    ) -> Window:
        """The window that the arguments describe; "same" padding needs the `size` of the map it slides over."""
        kernel = self.pair(self.kernel, kernel_size, 1)
        steps = self.pair("stride", stride, 1)
        gaps = self.pair("dilation", dilation, 1)
        if isinstance(padding, str):
            if size is None or padding not in ("same", "valid"):
                words = "" if size is None else ', "same" or "valid"'
                self.fail(f"padding must be an integer, a pair, a pair of pairs{words}, got {padding!r}")
            sides = same_padding(size, kernel, steps, gaps) if padding == "same" else ((0, 0), (0, 0))
        else:
            sides = self.sides("padding", padding)
        return Window(kernel, steps, sides, gaps)

    def windows_over(self, window: Window, size: Pair, *, ceil_mode: bool = False) -> Pair:
        """How many windows fit a map of `size`; at least one must."""
        count = window.output_size(size, ceil_mode=ceil_mode)
        if min(count) < 1:
            padded = tuple(length + sum(sides) for length, sides in zip(size, window.padding, strict=True))
            self.fail(
                f"{self.kernel} with its dilation covers {window.extent} pixels, more than the padded map {padded}"
            )
        if max(count) >= LIMIT:
            self.fail(f"the result must have fewer than 2**31 rows and columns, got {count}")
        return count

    def filters(self, weight: Array, groups: Any, channels: int, *, transposed: bool) -> int:
        """The number of groups, where it divides the channels and the weight has the channels that it leaves."""
        count = self.integer("groups", groups, 1)
        ours = 0 if transposed else 1  # the weight's axis that meets the channels of x
        per_group = channels if transposed else channels // count
        if channels % count or weight.shape[0] % count or weight.shape[ours] != per_group:
            axes = "(in, out / groups, kh, kw)" if transposed else "(out, in / groups, kh, kw)"
            self.fail(
                f"weight must be {axes} for {channels} input channels in {count} groups, and groups must divide both"
                f" numbers of channels; got weight {weight.shape}"
            )
        return count

    def output_padding(self, value: Any, window: Window) -> Pair:
        """Rows and columns to append to a transposed convolution, fewer than its outputs are apart."""
        extra = self.pair("output_padding", value, 0)
        if any(more >= least for more, least in zip(extra, window.spare, strict=True)):
            self.fail(f"output_padding must be below max(stride, dilation) = {window.spare}, got {extra}")
        return extra

    def transposed_size(self, window: Window, size: Pair, extra: Pair) -> Pair:
        """The rows and columns that a transposed convolution gives to a map of `size`; there must be some."""
        whole = window.transposed_size(size, extra)
        if min(whole) < 1:
            self.fail(f"padding {window.padding} crops all of the result: its size would be {whole}")
        if max(whole) >= LIMIT:
            self.fail(f"the result must have fewer than 2**31 rows and columns, got {whole}")
        return whole
