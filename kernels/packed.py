"""Weights that kernels keep rearranged, so that many calls with the same one rearrange it once."""

from typing import Any

import numpy as np

from .arguments import Arguments
from .layout import Array
from .namespace import on_device


class Packed(np.ndarray):
    """A weight, and in `forms` what kernels have made of it, by names of their own. Its views have none."""

    forms: dict[Any, Any] | None

    def __array_finalize__(self, source: Any) -> None:
        """Start without."""
        self.forms = None


def packed(weight: Array, forms: dict[Any, Any]) -> Packed:
    """The same memory as a weight with these forms."""
    view = weight.view(Packed)
    view.forms = forms
    return view


def pack(weight: Array) -> Array:
    """A read-only copy of a weight, for many calls: w' = w, to be given in the place of w.

    What the kernels of `conv2d`, `conv_transpose2d` and their input gradients rearrange a weight to (panels of filters,
    Winograd's transform) is kept with the copy at its first use, for as long as the copy lives. A variant's results are
    the same bit for bit; "auto" may choose another one, since what is kept costs nothing. A weight that is to change
    must be packed anew. (`upconv.nn` needs none of this: its layers notice changes.) On a GPU it is a copy, no more.

    weight: (K, C, kh, kw), float32 or float64. Returns an array of its shape, dtype and strides (gaps apart).

    Raises TypeError or ValueError where it is anything else.

    >>> import numpy as np
    >>> from upconv import kernels
    >>> weight = kernels.pack(np.ones((8, 8, 3, 3), np.float32))
    >>> [float(kernels.conv2d(np.full((1, 8, 3, 3), i, np.float32), weight)[0, 0, 0, 0]) for i in range(3)]
    [0.0, 72.0, 144.0]
    """
    copy = Arguments("pack").array("weight", weight, "KCHW").copy("K")
    if on_device(copy):
        return copy
    copy.flags.writeable = False
    return packed(copy, {})
