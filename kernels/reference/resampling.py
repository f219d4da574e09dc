"""Interpolation, from the definition."""

import numpy as np

from .arrays import Array, Pair, Shape, float64

Scales = tuple[float | None, float | None]


def keys(distance: Array) -> Array:
    """Keys' cubic kernel with a = -3/4: what a pixel so far away weighs.

    (a + 2) d^3 - (a + 3) d^2 + 1 up to 1, a d^3 - 5a d^2 + 8a d - 4a = a (d - 1) (d - 2)^2 up to 2: its product loses
    no digits where the sum cancels. Source: Keys 1981, equation 15, which has it for a = -1/2.
    """
    a, d = -0.75, np.abs(distance)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * (d - 1) * (d - 2) ** 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def taps(
    inputs: int, outputs: int, scale: float | None, mode: str, align_corners: bool, dtype: np.dtype
) -> tuple[Array, Array]:
    """(index, weight) of one axis, both (outputs, taps): y[i] = sum over t of weight[i,t] x[index[i,t]].

    Positions are numbers of `dtype` (for "nearest" float32), rounded once after the multiplication and the subtraction:
    in float32 it decides which pixel is meant. The weights are float64.
    """
    i = np.arange(outputs)
    number = np.dtype(np.float32 if mode == "nearest" else dtype).type
    step = number(1 / scale) if scale else number(inputs) / number(outputs)
    if mode == "nearest":
        if outputs == inputs or outputs == 2 * inputs:  # whatever the scale
            return (i * inputs // outputs)[:, None], np.ones((outputs, 1))
        index = np.floor(i.astype(np.float32) * step).astype(np.int64)
        return np.minimum(index, inputs - 1)[:, None], np.ones((outputs, 1))
    if align_corners:
        u = i.astype(dtype) * (number(inputs - 1) / number(outputs - 1) if outputs > 1 else number(0))
    else:
        u = ((i.astype(dtype) + number(0.5)) * np.float64(step) - 0.5).astype(dtype)
    if mode == "bilinear" and inputs == outputs:  # whatever the scale
        return np.stack([i, i], axis=1), np.tile([1.0, 0.0], (outputs, 1))
    if mode == "bilinear":
        u = np.maximum(u, 0)
    first = np.minimum(np.floor(u.astype(np.float32)).astype(np.int64), inputs - 1)
    t = np.clip(u - first.astype(dtype), 0, 1).astype(np.float64)[:, None]
    around = np.arange(2) if mode == "bilinear" else np.arange(-1, 3)
    weight = 1 - np.abs(t - around) if mode == "bilinear" else keys(t - around)
    return np.clip(first[:, None] + around, 0, inputs - 1), weight


def interpolate(x: Array, *, output_size: Pair, scales: Scales, mode: str, align_corners: bool) -> Array:
    """y[n,c,i,j] = sum over s,t of r[i,s] c[j,t] x[n, c, p[i,s], q[j,t]].

    (p, r) are the `taps` of the rows, (q, c) of the columns. Positions are computed in the dtype of x; scales, where
    given, are used for them instead of the ratio of sizes.
    """
    y = float64(x)
    for axis, (outputs, scale) in enumerate(zip(output_size, scales, strict=True), start=2):
        index, weight = taps(y.shape[axis], outputs, scale, mode, align_corners, x.dtype)
        along = [1, 1, 1, 1]
        along[axis] = outputs
        y = sum(y.take(index[:, t], axis) * weight[:, t].reshape(along) for t in range(index.shape[1]))
    return y


def interpolate_input(input_shape: Shape, grad: Array, *, scales: Scales, mode: str, align_corners: bool) -> Array:
    """dx[n, c, p[i,s], q[j,t]] += r[i,s] c[j,t] grad[n,c,i,j]: the adjoint of `interpolate`."""
    dx = float64(grad)
    for axis, scale in enumerate(scales, start=2):
        outputs = grad.shape[axis]
        index, weight = taps(input_shape[axis], outputs, scale, mode, align_corners, grad.dtype)
        total = np.zeros((input_shape[axis], *np.delete(dx.shape, axis)))
        moved = np.moveaxis(dx, axis, 0)
        for i, t in np.ndindex(index.shape):
            total[index[i, t]] += weight[i, t] * moved[i]
        dx = np.moveaxis(total, 0, axis)
    return np.ascontiguousarray(dx)
