"""What the tests of pooling and unpooling share: drawn windows, and results large enough for the ways of large ones."""

from contextlib import contextmanager
from unittest import mock

import numpy as np
from hypothesis import strategies as st
from kernel_cases import DTYPES, FORMATS

from upconv.kernels.cpu import channels as channel_blocks
from upconv.kernels.cpu import scattering, stream

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
dtypes, formats = st.sampled_from(DTYPES), st.sampled_from(FORMATS)
channels = st.sampled_from((1, 2, 3, 16, 17, 70))


@contextmanager
def taken_for_large(large):
    """Where `large`, any result counts as larger than the caches: written past them, in small stages and bands."""
    if not large:
        yield
        return
    with (
        mock.patch.object(stream, "LARGE", 0),
        mock.patch.object(channel_blocks, "STAGE", 300),
        mock.patch.object(scattering, "BAND", 500),
    ):
        yield


@st.composite
def poolings(draw, largest_dilation=3):
    """(x shape, output size, the reference's window, ceil_mode)."""
    ceil_mode = draw(st.booleans())
    axes = []
    for _ in range(2):
        kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
        dilation = draw(st.integers(1, largest_dilation))
        extent = dilation * (kernel - 1) + 1
        before, after = draw(st.integers(0, extent // 2)), draw(st.integers(0, extent // 2))
        size = max(1, extent - before - after) + draw(st.integers(0, 8))
        free = size + before + after - extent
        windows = -(-free // stride) + 1 if ceil_mode else free // stride + 1
        if ceil_mode and (windows - 1) * stride >= size + before:  # the last must start in the map or before it
            windows -= 1
        axes.append((size, windows, kernel, stride, (before, after), dilation))
    size, windows, *values = zip(*axes, strict=True)
    window = dict(zip(("kernel_size", "stride", "padding", "dilation"), values, strict=True))
    return (draw(st.integers(1, 3)), draw(channels), *size), windows, window, ceil_mode
