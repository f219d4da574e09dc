"""Unpooling, at remembered positions and at a fixed one: rules and docstrings."""

from typing import Any

from . import reference
from .arguments import LIMIT, Arguments
from .case import Case
from .cpu import max_unpooling, unpooling
from .cuda import unpooling as cuda
from .indices import INDEX, within
from .layout import Array, Shape, channels_last, format_of, plane
from .namespace import on_device
from .op import Variant, operator
from .pooling import pooling_window
from .window import Pair
from .window_arguments import WindowArguments


def _checked_indices(check: Arguments, indices: Any, shape: Shape, size: Pair) -> tuple[Array, Array]:
    """The indices as int64 in channels-last memory, and a survey of where they point in planes of `size`."""
    indices, pixels = check.integers("indices", indices, shape), size[0] * size[1]
    if indices.dtype != INDEX:
        within(check, "indices", indices, pixels)  # before a large uint64 would turn negative
    indices = channels_last(indices.astype(INDEX, copy=False))
    found = (cuda if on_device(indices) else max_unpooling).survey(indices, size)
    within(check, "indices", found[..., :2], pixels)
    return indices, found


def _reference_max_unpool(x: Array, indices: Array, found: Array, *, output_size: Pair) -> Array:
    return reference.max_unpool2d(x, indices, output_size=output_size)


def _reference_max_unpool_input(grad: Array, indices: Array, found: Array) -> Array:
    return reference.max_unpool2d_input(grad, indices)


@operator(
    reference=_reference_max_unpool_input,
    variants=[
        Variant("direct", max_unpooling.max_unpool_input),
        Variant("cuda", cuda.max_unpool_input, refuses=cuda.planes_too_large, device="cuda"),
    ],
)
def max_unpool2d_input(grad: Array, indices: Array, *, algorithm: str = "auto") -> Case:
    """dx[n,c,i,j] = grad[n, c, indices[n,c,i,j]] where that pixel kept x[n,c,i,j], 0 where a later one overwrote it.

    The gradient of `max_unpool2d` with respect to its values.

    grad: (N, C, Ho, Wo), the gradient of the result. indices: integers (N, C, H, W), as given to `max_unpool2d`.
    Returns (N, C, H, W) in the format of `grad`.

    Raises ValueError, TypeError, or IndexError for an index outside 0..Ho*Wo-1.
    """
    check = Arguments("max_unpool2d_input")
    grad = check.map("grad", grad, "NCHW")
    size = getattr(indices, "shape", ())[-2:] if getattr(indices, "ndim", 0) >= 3 else plane(grad.shape)
    indices, found = _checked_indices(check, indices, (*grad.shape[:2], *size), plane(grad.shape))
    outputs = (check.output(indices.shape, grad.dtype, format_of(grad)),)
    return Case((grad, indices, found), outputs, maps=(0, 1), algorithm=algorithm)


@operator(
    reference=_reference_max_unpool,
    variants=[
        Variant("direct", max_unpooling.max_unpool),
        Variant("cuda", cuda.max_unpool, refuses=cuda.planes_too_large, device="cuda"),
    ],
    gradients={"x": max_unpool2d_input},
)
def max_unpool2d(
    x: Array,
    indices: Array,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
    algorithm: str = "auto",
) -> Case:
    """y[n, c, indices[n,c,i,j]] = x[n,c,i,j], and 0 elsewhere.

    Unpooling at remembered positions, as `torch.nn.functional.max_unpool2d`. Where an index occurs twice in a plane,
    the last one in row-major order stays, on every device and for every number of threads.

    x: (N, C, H, W) or (C, H, W), float32 or float64.
    indices: integers of the same shape, positions row * Wo + column in the result's plane, as
    `max_pool2d(return_indices=True)` gives them.
    kernel_size, stride, padding: those of the pooling; the result has Ho = (H - 1) s - top - bottom + kh rows.
    output_size: (Ho, Wo) instead, less than one stride away from that.

    Returns (N, C, Ho, Wo) in the format of x.

    Raises ValueError, TypeError, or IndexError for an index outside 0..Ho*Wo-1.

    Source: Zeiler & Fergus (2014), section 2.1; Noh, Hong & Han, "Learning deconvolution network for semantic
    segmentation" (2015), section 3.2.1.

    >>> import numpy as np
    >>> from upconv.kernels import max_unpool2d
    >>> x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> max_unpool2d(x, np.array([[[[5, 2], [12, 15]]]]), 2)
    array([[[[0., 0., 2., 0.],
             [0., 1., 0., 0.],
             [0., 0., 0., 0.],
             [3., 0., 0., 4.]]]])
    """
    check = WindowArguments("max_unpool2d")
    x = check.map("x", x, "NCHW")
    window = pooling_window(check, kernel_size, stride, padding, 1)
    size = window.transposed_size(x.shape[2:])
    if output_size is not None:
        wanted = check.pair("output_size", output_size, 1)
        if any(abs(a - b) >= s for a, b, s in zip(wanted, size, window.stride, strict=True)):
            check.fail(f"output_size must be less than one stride {window.stride} away from {size}, got {wanted}")
        size = wanted
    if min(size) < 1:
        check.fail(f"the result would have size {size}; padding {padding!r} is too large for it")
    indices, found = _checked_indices(check, indices, x.shape, size)
    outputs = (check.output((*x.shape[:2], *size), x.dtype, format_of(x)),)
    return Case((x, indices, found), outputs, {"output_size": size}, maps=(0, 1), algorithm=algorithm)


@operator(
    reference=reference.unpool2d_input,
    variants=[Variant("direct", unpooling.unpool_input), Variant("cuda", cuda.unpool_input, device="cuda")],
)
def unpool2d_input(grad: Array, kernel_size: Any, *, algorithm: str = "auto") -> Case:
    """dx[n,c,i,j] = grad[n, c, i kh, j kw].

    The gradient of `unpool2d`. grad: (N, C, H kh, W kw), or without N. kernel_size: as given to `unpool2d`. Returns
    (N, C, H, W) in the format of `grad`.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    check = Arguments("unpool2d_input")
    grad = check.map("grad", grad, "NCHW")
    kernel = check.pair("kernel_size", kernel_size, 1)
    n, c, h, w = grad.shape
    if h % kernel[0] or w % kernel[1]:
        check.fail(f"kernel_size must divide the size of grad {(h, w)}, got {kernel}")
    outputs = (check.output((n, c, h // kernel[0], w // kernel[1]), grad.dtype, format_of(grad)),)
    return Case((grad,), outputs, {"kernel_size": kernel}, maps=(0,), algorithm=algorithm)


@operator(
    reference=reference.unpool2d,
    variants=[Variant("direct", unpooling.unpool), Variant("cuda", cuda.unpool, device="cuda")],
    gradients={"x": unpool2d_input},
)
def unpool2d(x: Array, kernel_size: Any, *, algorithm: str = "auto") -> Case:
    """y[n, c, i kh, j kw] = x[n,c,i,j], and 0 elsewhere.

    Unpooling at a fixed position: every value becomes the top left corner of a block of zeros.

    x: (N, C, H, W) or (C, H, W), float32 or float64, any strides. kernel_size: int or (rows, columns) of a block, at
    least 1. Returns (N, C, H kh, W kw) in the format of x.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Dosovitskiy, Springenberg & Brox, "Learning to generate chairs with convolutional neural networks" (2015),
    section 3.2 (the value in one corner).

    >>> import numpy as np
    >>> from upconv.kernels import unpool2d
    >>> unpool2d(np.array([[[[1.0, 2.0]]]]), 2)
    array([[[[1., 0., 2., 0.],
             [0., 0., 0., 0.]]]])
    """
    check = Arguments("unpool2d")
    x = check.map("x", x, "NCHW")
    kernel = check.pair("kernel_size", kernel_size, 1)
    size = x.shape[2] * kernel[0], x.shape[3] * kernel[1]
    if max(size) >= LIMIT:
        check.fail(f"the result must have fewer than 2**31 rows and columns, got {size}")
    outputs = (check.output((*x.shape[:2], *size), x.dtype, format_of(x)),)
    return Case((x,), outputs, {"kernel_size": kernel}, maps=(0,), algorithm=algorithm)
