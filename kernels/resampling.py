"""Interpolation of maps to another size, nearest, bilinear or bicubic: rules and docstrings."""

import sys
from math import prod
from typing import Any

import numpy as np

from . import reference
from .arguments import LIMIT, Arguments
from .case import Case, Output
from .cpu import resampling as cpu
from .cuda import resampling as cuda
from .layout import Array, Shape, format_of, plane
from .op import Variant, operator
from .window import Pair

MODES = ("nearest", "bilinear", "bicubic")
LARGEST = sys.float_info.max
TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}  # on each axis

Scales = tuple[float | None, float | None]


def _mode(check: Arguments, mode: Any, align_corners: Any) -> dict[str, Any]:
    check.choice("mode", mode, MODES)
    if check.flag("align_corners", align_corners) and mode == "nearest":
        check.fail("align_corners must be False with mode 'nearest', which has no use for it, got True")
    return {"mode": mode, "align_corners": bool(align_corners)}


def _scales(check: Arguments, scale_factor: Any) -> Scales:
    """(rows, columns) from a number, a pair of them, or None."""
    if scale_factor is None:
        return None, None
    pair = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor, scale_factor)
    if len(pair) != 2:
        check.fail(f"scale_factor must be a number or a pair, got {scale_factor!r}")
    for value in pair:
        if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
            check.fail(f"scale_factor must be a number or a pair, got {type(value).__name__}", TypeError)
        number = float(value) if isinstance(value, np.floating) else value  # else LARGEST would be made a float32
        if not 0 < number <= LARGEST:
            check.fail(f"scale_factor must be positive and finite, got {scale_factor!r}")
    return float(pair[0]), float(pair[1])


def _scaled(check: Arguments, size: Pair, scales: Scales) -> Pair:
    """floor(size * scale) of each axis, which must be a size."""
    rows, columns = (length * (scale or 1) for length, scale in zip(size, scales, strict=True))
    if not 1 <= min(rows, columns) <= max(rows, columns) < LIMIT:
        allowed = "at least 1 and fewer than 2**31 rows and columns"
        check.fail(f"scale_factor must leave {allowed}, got {scales} for a map of {size}")
    return int(rows), int(columns)


def _pixels(check: Arguments, name: str, shape: Shape) -> Pair:
    """The rows and columns of a map, of which there must be some."""
    if min(plane(shape)) < 1:
        check.fail(f"{name} must have at least one row and one column, got shape {shape}")
    return plane(shape)


def _case(like: Array, arguments: tuple[Any, ...], shape: Shape, parameters: dict[str, Any], algorithm: str) -> Case:
    """The call that gives `shape` from the arguments, the last of which is the map `like`, the others shapes.

    Every plane is by itself, so contiguous maps are taken as one channel of more images: that is channels-last too.
    """
    planes = shape[0] * shape[1], 1
    output = Output(shape, like.dtype)
    if format_of(like) == "contiguous":
        arguments = tuple(
            like.reshape(*planes, *plane(like.shape)) if a is like else (*planes, *a[2:]) for a in arguments
        )
        output = Output((*planes, *plane(shape)), like.dtype, final=shape)
    operations = 2 * 2 * TAPS[parameters["mode"]]  # a multiplication and an addition for each tap of each axis
    pixels = max(prod(shape), like.size)
    maps = (len(arguments) - 1,)
    return Case(arguments, (output,), parameters, maps=maps, flops=operations * pixels, algorithm=algorithm)


@operator(
    reference=reference.interpolate_input,
    variants=[
        Variant("separable", cpu.interpolate_input),
        Variant("cuda", cuda.interpolate_input, refuses=cuda.too_many, device="cuda"),
    ],
)
def interpolate_input(
    input_shape: Shape,
    grad: Array,
    *,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
    algorithm: str = "auto",
) -> Case:
    """dx[n,c,p,q] = sum over i,j of R[i,p] C[j,q] grad[n,c,i,j], with the weights R and C of `interpolate`.

    The gradient of `interpolate`: its transpose. Every pixel gathers, in row-major order of axes, so that the sums are
    the same for any number of threads.

    input_shape: (N, C, H, W) of what was interpolated. grad: (N, C, Ho, Wo), float32 or float64, any strides.
    scale_factor, mode, align_corners: as given to `interpolate`; where that got a size, scale_factor is None.

    Returns (N, C, H, W) in the format of `grad`.

    Raises ValueError or TypeError naming the argument where one does not fit.
    """
    check = Arguments("interpolate_input")
    shape = check.shape_of("input_shape", input_shape, "NCHW")
    size = _pixels(check, "input_shape", shape)
    scales = _scales(check, scale_factor)
    parameters = _mode(check, mode, align_corners) | {"scales": scales}
    grad = check.array("grad", grad, "NCHW")
    _pixels(check, "grad", grad.shape)
    output_size = plane(grad.shape) if scale_factor is None else _scaled(check, size, scales)
    check.shape("grad", grad, (*shape[:2], *output_size))
    return _case(grad, (shape, grad), shape, parameters, algorithm)


@operator(
    reference=reference.interpolate,
    variants=[
        Variant("separable", cpu.interpolate),
        Variant("cuda", cuda.interpolate, refuses=cuda.too_many, device="cuda"),
    ],
    gradients={"x": interpolate_input},
)
def interpolate(
    x: Array,
    *,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
    algorithm: str = "auto",
) -> Case:
    """y[n,c,i,j] = sum over p,q of R[i,p] C[j,q] x[n,c,p,q], with few weights other than 0 in a row of R and of C.

    Interpolation to another size, up or down, as `torch.nn.functional.interpolate`. With step = H / Ho, the weights of
    row i stand around u = (i + 1/2) step - 1/2, or with align_corners around u = i (H - 1) / (Ho - 1):

    - "nearest": 1 at floor(i step), as PyTorch has it: not what is nearest to u;
    - "bilinear": 1 - t at floor(u) and t at the next, t = u - floor(u), u no less than 0;
    - "bicubic": Keys' kernel with a = -3/4 at the four pixels around u.

    A pixel beyond the border is that on the border. Going down smooths nothing: pixels between the taps are left out.
    Positions are computed in x's dtype (for "nearest" always in float32), which is what PyTorch does.

    x: (N, C, H, W), float32 or float64, any strides, with at least one row and one column.
    size: (Ho, Wo), or an int for both.
    scale_factor: instead of it, a number or (rows, columns), positive. Then Ho = floor(H scale_factor), and step is
    1 / scale_factor even where H / Ho is another number; but "nearest" copies or doubles where Ho is H or 2 H.
    mode: "nearest", "bilinear" or "bicubic".
    align_corners: the outermost pixels stay where they are. Not with "nearest".

    Returns (N, C, Ho, Wo) in the format of x.

    Raises ValueError or TypeError naming the argument where one does not fit.

    Source: Keys, "Cubic convolution interpolation for digital image processing" (1981), equation 15 with a for -1/2.

    >>> import numpy as np
    >>> from upconv.kernels import interpolate
    >>> x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> interpolate(x, scale_factor=2)
    array([[[[1., 1., 2., 2.],
             [1., 1., 2., 2.],
             [3., 3., 4., 4.],
             [3., 3., 4., 4.]]]])
    >>> interpolate(x, size=3, mode="bilinear", align_corners=True)
    array([[[[1. , 1.5, 2. ],
             [2. , 2.5, 3. ],
             [3. , 3.5, 4. ]]]])
    """
    check = Arguments("interpolate")
    x = check.array("x", x, "NCHW")
    pixels = _pixels(check, "x", x.shape)
    parameters = _mode(check, mode, align_corners)
    if (size is None) == (scale_factor is None):
        got = "neither" if size is None else "both"
        check.fail(f"size or scale_factor must be given, one of them, got {got}")
    scales = _scales(check, scale_factor)
    output_size = check.pair("size", size, 1) if scale_factor is None else _scaled(check, pixels, scales)
    parameters |= {"output_size": output_size, "scales": scales}
    return _case(x, (x,), (*x.shape[:2], *output_size), parameters, algorithm)
