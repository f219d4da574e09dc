"""Transposed convolution seen from other sides: as a matrix, by inserted zeros, as interpolation, by its overlaps."""

from typing import Any

import numpy as np

from .._extras import require
from .arguments import Arguments
from .layout import Array, Shape, empty, format_of
from .namespace import namespace, on_device
from .window_arguments import WindowArguments


def zero_insert2d(x: Array, stride: Any) -> Array:
    """y[n, c, i s, j s] = x[n,c,i,j], and 0 elsewhere: `stride` - 1 zeros between neighbours.

    The fractional stride: a transposed convolution is this, then a convolution of stride 1 with the kernel turned by
    180 degrees, its first two axes exchanged and padding d (k - 1) - padding.

    x: (N, C, H, W) or (C, H, W), float32 or float64. stride: int or (rows, columns).
    Returns (N, C, (H - 1) s + 1, (W - 1) s + 1) in the format of x.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016), section 4.5.

    >>> import numpy as np
    >>> from upconv.kernels import zero_insert2d
    >>> zero_insert2d(np.array([[[1.0, 2.0], [3.0, 4.0]]]), 2)
    array([[[1., 0., 2.],
            [0., 0., 0.],
            [3., 0., 4.]]])
    """
    check = Arguments("zero_insert2d")
    x = check.map("x", x, "NCHW")
    rows, columns = check.pair("stride", stride, 1)
    n, c, h, w = x.shape
    size = tuple(max((length - 1) * s + 1, 0) for length, s in ((h, rows), (w, columns)))
    if max(size) >= 2**31:
        check.fail(f"the result must have fewer than 2**31 rows and columns, got {size}")
    shape = n, c, *size
    y = namespace(x).empty(shape, x.dtype) if format_of(x) == "contiguous" else empty(shape, x.dtype, x)
    y[...] = 0
    y[:, :, ::rows, ::columns] = x
    return y[0] if check.unbatched else y


def convolution_matrix(
    weight: Array,
    input_shape: Shape,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """A[(k, i, j), (c, p, q)] = sum over u,v with p = i s - pad + u d, q = j s - pad + v d of w[k,c,u,v].

    The convolution of one image as a sparse matrix: A @ x.ravel() is `conv2d(x, weight).ravel()`, and A.T @ g.ravel()
    the transposed convolution of g. Pixels and channels are in the order of C-contiguous memory.

    weight: (K, C / groups, kh, kw), float32 or float64. input_shape: (C, H, W). The rest as given to `conv2d`.
    Returns a `scipy.sparse.csr_array` (K Ho Wo, C H W) of the weight's dtype.

    Raises ValueError or TypeError naming the argument where one does not fit, ImportError where SciPy is not installed.

    Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016), section 4.1.

    >>> import numpy as np
    >>> from upconv.kernels import convolution_matrix
    >>> convolution_matrix(np.array([[[[1.0, 2.0]]]]), (1, 1, 4)).toarray()
    array([[1., 2., 0., 0.],
           [0., 1., 2., 0.],
           [0., 0., 1., 2.]])
    """
    check = WindowArguments("convolution_matrix", kernel="weight.shape[2:]")
    weight = check.array("weight", weight, "KCHW")
    if on_device(weight):
        check.fail(
            "weight must be a NumPy array, for a matrix of SciPy's; got a CuPy array, whose get() is one", TypeError
        )
    channels, height, width = check.shape_of("input_shape", input_shape, "CHW")
    window = check.window(weight.shape[2:], stride, padding, dilation, (height, width))
    count = check.filters(weight, groups, channels, transposed=False)
    size = check.windows_over(window, (height, width))
    sparse = require("scipy.sparse", extra="matrix")
    filters, ins, kh, kw = weight.shape
    k, c, u, v, i, j = np.ogrid[:filters, :ins, :kh, :kw, : size[0], : size[1]]
    p = i * window.stride[0] - window.padding[0][0] + u * window.dilation[0]
    q = j * window.stride[1] - window.padding[1][0] + v * window.dilation[1]
    inside = np.broadcast_to((p >= 0) & (p < height) & (q >= 0) & (q < width), (filters, ins, kh, kw, *size))
    channel = k // max(filters // count, 1) * ins + c
    rows = np.broadcast_to((k * size[0] + i) * size[1] + j, inside.shape)[inside]
    columns = np.broadcast_to((channel * height + p) * width + q, inside.shape)[inside]
    values = np.broadcast_to(weight[..., None, None], inside.shape)[inside]
    shape = filters * size[0] * size[1], channels * height * width
    return sparse.csr_array((values, (rows, columns)), shape=shape)


def bilinear_kernel(stride: Any, *, dtype: Any = np.float32) -> Array:
    """k[u,v] = (1 - |u - m| / f) (1 - |v - m'| / f'): the kernel whose transposed convolution interpolates bilinearly.

    With f = ceil(size / 2) and m the kernel's middle. Give `conv_transpose2d` this kernel for each channel, the same
    `stride`, and padding (size - stride) / 2, rounded up: the result is the bilinear enlargement by `stride`, up to
    its border.

    stride: int or (rows, columns), s >= 1. dtype: float32 or float64.
    Returns (2 s - s mod 2) numbers along each axis; for stride 2 they are 4 x 4, for stride 1 the 1 x 1 identity.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Long, Shelhamer & Darrell, "Fully convolutional networks for semantic segmentation" (2015), section 3.3.

    >>> from upconv.kernels import bilinear_kernel
    >>> bilinear_kernel((1, 2))
    array([[0.25, 0.75, 0.75, 0.25]], dtype=float32)
    """
    check = Arguments("bilinear_kernel")
    pair = check.pair("stride", stride, 1)
    kind = check.dtype("dtype", dtype)

    def tent(s: int) -> Array:
        size = 2 * s - s % 2
        return 1 - abs(np.arange(size) - (size - 1) / 2) / ((size + 1) // 2)

    return np.outer(tent(pair[0]), tent(pair[1])).astype(kind)


def overlap_counts(
    size: Any,
    kernel_size: Any,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
) -> Array:
    """n[p,q] = the number of (i, j, u, v) with p = i s - pad + u d and q = j s - pad + v d.

    How many kernel taps reach each output pixel of a transposed convolution. Away from the border the numbers are
    equal where the kernel is a multiple of the stride; where they are not, they are the checkerboard that such a layer
    paints.

    size: (H, W) of the input, or one number for both. The rest as given to `conv_transpose2d`.
    Returns int64 (Ho, Wo).

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Odena, Dumoulin & Olah, "Deconvolution and checkerboard artifacts", Distill (2016).

    >>> from upconv.kernels import overlap_counts
    >>> overlap_counts((1, 4), (1, 3), stride=2)
    array([[1, 1, 2, 1, 2, 1, 2, 1, 1]])
    """
    check = WindowArguments("overlap_counts")
    rows, columns = check.pair("size", size, 1)
    window = check.window(kernel_size, stride, padding, dilation)
    extra = check.output_padding(output_padding, window)
    whole = check.transposed_size(window, (rows, columns), extra)

    def along(axis: int, length: int) -> Array:
        starts = np.arange((rows, columns)[axis])[:, None] * window.stride[axis] - window.padding[axis][0]
        reached = (starts + np.arange(window.kernel[axis]) * window.dilation[axis]).ravel()
        return np.bincount(reached[(reached >= 0) & (reached < length)], minlength=length)

    return np.outer(along(0, whole[0]), along(1, whole[1]))
