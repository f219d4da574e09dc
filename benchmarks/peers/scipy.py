"""SciPy, which filters one channel at a time, with one thread. Importing this needs scipy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
from scipy import ndimage

from ..cases import Call

TITLE, VERSION = "SciPy", scipy.__version__


def prepare(threads: int) -> None:
    """It knows no threads."""


def candidates(call: Call) -> dict[str, Callable[[], Any]]:
    """The convolution of one map of one channel under one filter that keeps its size."""
    if call.operator != "conv2d":
        return {}
    given = call.arguments
    x, weight, bias = (given[name] for name in ("x", "weight", "bias"))
    kernel = weight.shape[2]
    plain = given["stride"] == given["dilation"] == 1 and given["padding"] == kernel // 2
    if x.shape[:2] != (1, 1) or weight.shape != (1, 1, kernel, kernel) or not plain:
        return {}
    plane, taps = np.ascontiguousarray(x[0, 0]), np.ascontiguousarray(weight[0, 0])

    def run() -> np.ndarray:
        y = ndimage.correlate(plane, taps, mode="constant")
        if bias is not None:
            y += bias[0]
        return y[None, None]

    return {TITLE: run}


def networks(model: Any, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """None."""
    return {}
