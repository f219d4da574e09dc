"""Max-pooling that remembers which pixel won, and unpooling that puts values back there: rules and docstrings.

Between a network's own layers the winner is kept as its place in the window, one byte (`max_pool2d_offsets`); int64
positions in the plane, as PyTorch gives them, are made only for who asks (`max_pool2d(return_indices=True)`).
"""

from typing import Any

import numpy as np

from . import reference
from .arguments import Arguments
from .case import Case
from .cpu import pooling as cpu
from .layout import Array, Shape, format_of, plane
from .op import Variant, operator
from .window import Window

INDEX = np.dtype(np.int64)


def offset_dtype(window: Window) -> np.dtype:
    """The smallest unsigned type that counts the taps of a window."""
    return np.dtype(np.uint8) if window.taps <= 2**8 else np.dtype(np.int32)


def _window(check: Arguments, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Window:
    window = check.window(kernel_size, kernel_size if stride is None else stride, padding, dilation)
    for axis, sides in enumerate(window.padding):
        if 2 * max(sides) > window.extent[axis]:
            check.fail(f"padding must be at most half of kernel_size with its dilation, got {padding!r}")
    return window


def _parameters(window: Window) -> dict[str, Any]:
    return {
        "kernel_size": window.kernel,
        "stride": window.stride,
        "padding": window.padding,
        "dilation": window.dilation,
    }


def _pooled(check: Arguments, x: Any, window: Window, ceil_mode: bool) -> tuple[Array, Shape]:
    x = check.map("x", x, "NCHW")
    size = check.windows_over(window, x.shape[2:], ceil_mode=check.flag("ceil_mode", ceil_mode))
    if not window.all_meet(x.shape[2:], size):
        check.fail(f"a window lies wholly in the padding: padding {window.padding} with dilation {window.dilation}")
    return x, (*x.shape[:2], *size)


def _checked_offsets(
    check: Arguments, input_shape: Any, offsets: Any, window: Window, ceil_mode: bool
) -> tuple[Shape, Array]:
    """The shape that was pooled, and the offsets that fit it, in their own dtype."""
    shape = check.map_shape("input_shape", input_shape, "NCHW")
    pooled = (*shape[:2], *check.windows_over(window, plane(shape), ceil_mode=check.flag("ceil_mode", ceil_mode)))
    offsets = check.integers("offsets", offsets, pooled)
    _within(check, "offsets", offsets, window.taps)
    return shape, offsets.astype(offset_dtype(window), copy=False)


@operator(reference=reference.max_pool2d_input, variants=[Variant("direct", cpu.max_pool_input)])
def max_pool2d_input(
    input_shape: Shape,
    offsets: Array,
    grad: Array,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    algorithm: str = "auto",
) -> Case:
    """dx[n,c,p,q] = sum of grad[n,c,i,j] over the windows (i,j) whose largest pixel was (p,q).

    The gradient of `max_pool2d`, from the offsets that `max_pool2d_offsets` gave.

    input_shape: (N, C, H, W) of what was pooled. offsets: integers (N, C, Ho, Wo). grad: (N, C, Ho, Wo). The rest as
    given to `max_pool2d_offsets`. Returns (N, C, H, W) in the format of `grad`.

    Raises ValueError, TypeError, or IndexError where an offset is no tap of the window.
    """
    check = Arguments("max_pool2d_input")
    window = _window(check, kernel_size, stride, padding, dilation)
    shape, offsets = _checked_offsets(check, input_shape, offsets, window, ceil_mode)
    grad = check.map("grad", grad, "NCHW")
    check.map_fits("grad", grad, offsets.shape)
    outputs = (check.output(shape, grad.dtype, format_of(grad)),)
    return Case((shape, offsets, grad), outputs, _parameters(window), maps=(1, 2), algorithm=algorithm)


@operator(reference=reference.max_pool2d_indices, variants=[Variant("direct", cpu.max_pool_indices)])
def max_pool2d_indices(
    input_shape: Shape,
    offsets: Array,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    algorithm: str = "auto",
) -> Case:
    """index[n,c,i,j] = (i s - pad + u d) W + j s - pad + v d, with u kw + v = offsets[n,c,i,j].

    The positions that `max_pool2d(return_indices=True)` gives, from the offsets of `max_pool2d_offsets`.

    input_shape: (N, C, H, W) of what was pooled. offsets: integers (N, C, Ho, Wo). The rest as given to
    `max_pool2d_offsets`. Returns int64 (N, C, Ho, Wo) in the format of `offsets`.

    Raises ValueError, TypeError, or IndexError where an offset is no tap of the window.
    """
    check = Arguments("max_pool2d_indices")
    window = _window(check, kernel_size, stride, padding, dilation)
    shape, offsets = _checked_offsets(check, input_shape, offsets, window, ceil_mode)
    outputs = (check.output(offsets.shape, INDEX, format_of(offsets)),)
    return Case((shape, offsets), outputs, _parameters(window), maps=(1,), algorithm=algorithm)


def _within(check: Arguments, name: str, values: Array, end: int) -> None:
    if values.size:
        low, high = values.min(), values.max()
        if low < 0 or high >= end:
            check.fail(f"{name} must be in 0..{end - 1}, got {low if low < 0 else high}", IndexError)


def _reference_offsets(x: Array, **parameters: Any) -> tuple[Array, Array]:
    y, _, offsets = reference.max_pool2d(x, **parameters)
    return y, offsets


def _reference_indices(x: Array, *, return_indices: bool, **parameters: Any) -> tuple[Array, ...]:
    return reference.max_pool2d(x, **parameters)[: 1 + return_indices]


@operator(
    reference=_reference_offsets,
    variants=[Variant("direct", cpu.max_pool_offsets)],
    gradients={"x": max_pool2d_input},
)
def max_pool2d_offsets(
    x: Array,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    algorithm: str = "auto",
) -> Case:
    """y[n,c,i,j] = max over u,v of x[n, c, i s - pad + u d, j s - pad + v d], and the tap u kw + v that won.

    `max_pool2d` in the form its gradient needs: the winner's place in the window, row by row, in one byte (int32 for
    windows of more than 256 taps).

    Returns (y, offsets), both (N, C, Ho, Wo) in the format of x. Arguments, errors and source as in `max_pool2d`.
    """
    check = Arguments("max_pool2d_offsets")
    window = _window(check, kernel_size, stride, padding, dilation)
    x, shape = _pooled(check, x, window, ceil_mode)
    outputs = (check.output(shape, x.dtype, format_of(x)), check.output(shape, offset_dtype(window), format_of(x)))
    return Case((x,), outputs, _parameters(window) | {"output_size": shape[2:]}, maps=(0,), algorithm=algorithm)


@operator(reference=_reference_indices, variants=[Variant("direct", cpu.max_pool)], gradients={"x": max_pool2d_input})
def max_pool2d(
    x: Array,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    algorithm: str = "auto",
) -> Case:
    """y[n,c,i,j] = max over u,v of x[n, c, i s - pad + u d, j s - pad + v d].

    Max-pooling as `torch.nn.functional.max_pool2d`. Pixels in the padding never win, NaN always does, and of equal
    pixels the first, row by row.

    x: (N, C, H, W), float32 or float64, any strides.
    kernel_size, stride, dilation: int or (rows, columns), in pixels; stride None means kernel_size.
    padding: int, pair or ((top, bottom), (left, right)), at most half of the kernel with its dilation.
    ceil_mode: a last, partly filled window counts too.
    return_indices: also give the position of each winner in its plane, row * W + column, as int64.

    Returns y, or (y, indices), (N, C, Ho, Wo) in the format of x, with Ho as for `conv2d`.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Zeiler & Fergus, "Visualizing and understanding convolutional networks" (2014), section 2.1 ("switches").

    >>> import numpy as np
    >>> from upconv.kernels import max_pool2d
    >>> x = np.array([[[[1, 2, 6, 3], [3, 5, 2, 1], [1, 2, 2, 1], [7, 3, 4, 8]]]], dtype=np.float32)
    >>> max_pool2d(x, 2, return_indices=True)
    (array([[[[5., 6.],
             [7., 8.]]]], dtype=float32), array([[[[ 5,  2],
             [12, 15]]]]))
    """
    check = Arguments("max_pool2d")
    window = _window(check, kernel_size, stride, padding, dilation)
    x, shape = _pooled(check, x, window, ceil_mode)
    outputs = [check.output(shape, x.dtype, format_of(x))]
    if check.flag("return_indices", return_indices):
        outputs.append(check.output(shape, INDEX, format_of(x)))
    parameters = _parameters(window) | {"output_size": shape[2:], "return_indices": bool(return_indices)}
    return Case((x,), tuple(outputs), parameters, maps=(0,), algorithm=algorithm)


@operator(reference=reference.max_unpool2d_input, variants=[Variant("direct", cpu.max_unpool_input)])
def max_unpool2d_input(grad: Array, indices: Array, *, algorithm: str = "auto") -> Case:
    """dx[n,c,i,j] = grad[n, c, indices[n,c,i,j]] where that pixel kept x[n,c,i,j], 0 where a later one overwrote it.

    The gradient of `max_unpool2d` with respect to its values.

    grad: (N, C, Ho, Wo), the gradient of the result. indices: integers (N, C, H, W), as given to `max_unpool2d`.
    Returns (N, C, H, W) in the format of `grad`.

    Raises ValueError, TypeError, or IndexError for an index outside 0..Ho*Wo-1.
    """
    check = Arguments("max_unpool2d_input")
    grad = check.map("grad", grad, "NCHW")
    size = getattr(indices, "shape", ())[-2:] if np.ndim(indices) >= 3 else plane(grad.shape)
    indices = check.integers("indices", indices, (*grad.shape[:2], *size))
    _within(check, "indices", indices, grad.shape[2] * grad.shape[3])
    outputs = (check.output(indices.shape, grad.dtype, format_of(grad)),)
    return Case((grad, indices.astype(INDEX, copy=False)), outputs, maps=(0, 1), algorithm=algorithm)


@operator(
    reference=reference.max_unpool2d,
    variants=[Variant("direct", cpu.max_unpool)],
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

    x: (N, C, H, W), float32 or float64. indices: integers of the same shape, positions row * Wo + column in the
    result's plane, as `max_pool2d(return_indices=True)` gives them.
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
    check = Arguments("max_unpool2d")
    x = check.map("x", x, "NCHW")
    window = _window(check, kernel_size, stride, padding, 1)
    indices = check.integers("indices", indices, x.shape)
    size = window.transposed_size(x.shape[2:])
    if output_size is not None:
        wanted = check.pair("output_size", output_size, 1)
        if any(abs(a - b) >= s for a, b, s in zip(wanted, size, window.stride, strict=True)):
            check.fail(f"output_size must be less than one stride {window.stride} away from {size}, got {wanted}")
        size = wanted
    if min(size) < 1:
        check.fail(f"the result would have size {size}; padding {padding!r} is too large for it")
    _within(check, "indices", indices, size[0] * size[1])
    outputs = (check.output((*x.shape[:2], *size), x.dtype, format_of(x)),)
    arguments = (x, indices.astype(INDEX, copy=False))
    return Case(arguments, outputs, {"output_size": size}, maps=(0, 1), algorithm=algorithm)
