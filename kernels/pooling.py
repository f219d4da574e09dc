"""Max-pooling that remembers which pixel won: rules and docstrings.

Between a network's own layers the winner is kept as its place in the window, one byte (`max_pool2d_offsets`); int64
positions in the plane, as PyTorch gives them, are made only for who asks (`max_pool2d(return_indices=True)`).
"""

from typing import Any

import numpy as np

from . import reference
from .case import Case
from .cpu import pooling as cpu
from .cpu import pooling_gradient
from .cuda import pooling as cuda
from .indices import INDEX, within
from .layout import Array, Shape, format_of, plane
from .op import Variant, operator
from .window import Window
from .window_arguments import WindowArguments


def offset_dtype(window: Window) -> np.dtype:
    """The smallest unsigned type that counts the taps of a window."""
    return np.dtype(np.uint8) if window.taps <= 2**8 else np.dtype(np.int32)


def pooling_window(check: WindowArguments, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Window:
    """The window of a pooling; padding may be half of it, as in PyTorch."""
    window = check.window(kernel_size, kernel_size if stride is None else stride, padding, dilation)
    for axis, sides in enumerate(window.padding):
        if 2 * max(sides) > window.extent[axis]:
            spread = " with its dilation" * (window.dilation != (1, 1))
            check.fail(f"padding must be at most half of kernel_size{spread}, got {padding!r}")
    return window


def _parameters(window: Window) -> dict[str, Any]:
    return {
        "kernel_size": window.kernel,
        "stride": window.stride,
        "padding": window.padding,
        "dilation": window.dilation,
    }


def pooled(check: WindowArguments, x: Any, window: Window, ceil_mode: bool) -> tuple[Array, Shape]:
    """x with four axes, and the shape of the result."""
    x = check.map("x", x, "NCHW")
    return x, pooled_shape(check, x.shape, window, ceil_mode)


def pooled_shape(check: WindowArguments, shape: Shape, window: Window, ceil_mode: bool) -> Shape:
    """The shape of a pooled map of `shape`."""
    size = check.windows_over(window, plane(shape), ceil_mode=check.flag("ceil_mode", ceil_mode))
    if not window.all_meet(plane(shape), size):
        check.fail(f"a window lies wholly in the padding: padding {window.padding} with dilation {window.dilation}")
    return (*shape[:2], *size)


def _checked_offsets(
    check: WindowArguments, input_shape: Any, offsets: Any, window: Window, ceil_mode: bool
) -> tuple[Shape, Array]:
    """The shape that was pooled, and the offsets that fit it, in their own dtype."""
    shape = check.map_shape("input_shape", input_shape, "NCHW")
    pooled = (*shape[:2], *check.windows_over(window, plane(shape), ceil_mode=check.flag("ceil_mode", ceil_mode)))
    offsets = check.integers("offsets", offsets, pooled)
    within(check, "offsets", offsets, window.taps)
    return shape, offsets.astype(offset_dtype(window), copy=False)


@operator(
    reference=reference.max_pool2d_input,
    variants=[
        Variant("direct", pooling_gradient.max_pool_input),
        Variant("cuda", cuda.max_pool_input, refuses=cuda.too_far, device="cuda"),
    ],
)
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
    given to `max_pool2d_offsets`. Returns (N, C, H, W) in the format of `grad`. An offset that points into the padding,
    which no pooling gives, adds nothing.

    Raises ValueError, TypeError, or IndexError where an offset is no tap of the window.
    """
    check = WindowArguments("max_pool2d_input")
    window = pooling_window(check, kernel_size, stride, padding, dilation)
    shape, offsets = _checked_offsets(check, input_shape, offsets, window, ceil_mode)
    grad = check.map("grad", grad, "NCHW")
    check.map_fits("grad", grad, offsets.shape)
    outputs = (check.output(shape, grad.dtype, format_of(grad)),)
    return Case((shape, offsets, grad), outputs, _parameters(window), maps=(1, 2), algorithm=algorithm)


@operator(
    reference=reference.max_pool2d_indices,
    variants=[
        Variant("direct", cpu.max_pool_indices),
        Variant("cuda", cuda.max_pool_indices, refuses=cuda.too_far, device="cuda"),
    ],
)
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
    check = WindowArguments("max_pool2d_indices")
    window = pooling_window(check, kernel_size, stride, padding, dilation)
    shape, offsets = _checked_offsets(check, input_shape, offsets, window, ceil_mode)
    outputs = (check.output(offsets.shape, INDEX, format_of(offsets)),)
    return Case((shape, offsets), outputs, _parameters(window), maps=(1,), algorithm=algorithm)


def _reference_offsets(x: Array, **parameters: Any) -> tuple[Array, Array]:
    y, _, offsets = reference.max_pool2d(x, **parameters)
    return y, offsets


def _reference_indices(x: Array, *, return_indices: bool, **parameters: Any) -> tuple[Array, ...]:
    return reference.max_pool2d(x, **parameters)[: 1 + return_indices]


@operator(
    reference=_reference_offsets,
    by_shape=True,
    variants=[
        Variant("direct", cpu.max_pool_offsets),
        Variant("cuda", cuda.max_pool_offsets, refuses=cuda.too_far, device="cuda"),
    ],
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
    check = WindowArguments("max_pool2d_offsets")
    window = pooling_window(check, kernel_size, stride, padding, dilation)
    x, shape = pooled(check, x, window, ceil_mode)
    outputs = (check.output(shape, x.dtype, format_of(x)), check.output(shape, offset_dtype(window), format_of(x)))
    return Case((x,), outputs, _parameters(window) | {"output_size": shape[2:]}, maps=(0,), algorithm=algorithm)


@operator(
    reference=_reference_indices,
    by_shape=True,
    variants=[Variant("direct", cpu.max_pool), Variant("cuda", cuda.max_pool, refuses=cuda.too_far, device="cuda")],
    gradients={"x": max_pool2d_input},
)
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
    pixels the first, row by row; also of several NaN, where PyTorch's indices name the last.

    x: (N, C, H, W) or (C, H, W), float32 or float64, any strides.
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
    check = WindowArguments("max_pool2d")
    window = pooling_window(check, kernel_size, stride, padding, dilation)
    x, shape = pooled(check, x, window, ceil_mode)
    outputs = [check.output(shape, x.dtype, format_of(x))]
    if check.flag("return_indices", return_indices):
        outputs.append(check.output(shape, INDEX, format_of(x)))
    parameters = _parameters(window) | {"output_size": shape[2:], "return_indices": bool(return_indices)}
    return Case((x,), tuple(outputs), parameters, maps=(0,), algorithm=algorithm)
