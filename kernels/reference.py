"""Every operator from its definition, in float64: slow, plain, and what the fast kernels are tested against.

It shares no code with them and imports NumPy only. Arguments come normalised and checked by `upconv.kernels`:

    stride, dilation, kernel_size, output_padding, output_size: (rows, columns)
    padding: ((top, bottom), (left, right))

Images are (N, C, H, W), weights (O, C/groups, kh, kw), and (C, O/groups, kh, kw) in transposed convolution. Results are
new C-contiguous arrays of float64, indices and offsets of int64. With integers so small that no sum passes 2**53,
convolutions, their gradients, pooling and unpooling are exact.
"""

import numpy as np

Array = np.ndarray
Shape = tuple[int, ...]
Pair = tuple[int, int]
Sides = tuple[Pair, Pair]


def _float64(array: Array) -> Array:
    return np.ascontiguousarray(array, dtype=np.float64)


def _taps(kernel_size: Pair, stride: Pair, dilation: Pair, positions: Pair) -> list[tuple[int, int, slice, slice]]:
    """(u, v, rows, columns): where tap (u, v) of the window meets the plane, for all positions (i, j).

    That is row i*sh + u*dh, column j*sw + v*dw of the padded plane.
    """
    rows, columns = (
        [slice(tap * d, tap * d + (n - 1) * s + 1, s) for tap in range(k)]
        for k, s, d, n in zip(kernel_size, stride, dilation, positions, strict=True)
    )
    return [(u, v, rows[u], columns[v]) for u in range(kernel_size[0]) for v in range(kernel_size[1])]


def _split(array: Array, axis: int, groups: int) -> Array:
    """Split an axis of channels in two: (groups, channels per group)."""
    shape = array.shape
    return array.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


def _merge(array: Array, axis: int) -> Array:
    """Undo `_split`: join the axes (groups, channels per group) at `axis`."""
    shape = array.shape
    return np.ascontiguousarray(array).reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])


def _pad(array: Array, padding: Sides) -> Array:
    """Zeros around each plane."""
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + list(padding))


def _crop(array: Array, padding: Sides) -> Array:
    """Cut from each plane what `_pad` adds."""
    (top, bottom), (left, right) = padding
    height, width = array.shape[-2:]
    return array[..., top : height - bottom, left : width - right]


def _epilogue(y: Array, bias: Array | None, activation: str | None) -> Array:
    """activation(y[n,o,i,j] + bias[o])."""
    if bias is not None:
        y = y + _float64(bias)[:, None, None]
    return relu(y) if activation == "relu" else y


# Convolution and its two adjoints. The three loops differ only in which of (input, weight, output) is the unknown.


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    stride: Pair,
    padding: Sides,
    dilation: Pair,
    groups: int,
    activation: str | None,
) -> Array:
    """y[n,o,i,j] = bias[o] + sum over c,u,v of weight[o,c,u,v] * x[n, c, i*sh + u*dh - top, j*sw + v*dw - left].

    x is 0 outside its plane; output channel o reads the input channels of its group. Cross-correlation, as in PyTorch.

    Shapes: x (N, C, H, W), weight (O, C/groups, kh, kw), bias (O,) or None; y (N, O, H', W') with
    H' = (H + top + bottom - dh*(kh - 1) - 1) // sh + 1.
    Source: Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning", relation 6 and section 5.1.
    """
    padded = _split(_pad(_float64(x), padding), 1, groups)
    kernels = _split(_float64(weight), 0, groups)
    size, kernel_size = padded.shape[-2:], kernels.shape[-2:]
    height, width = ((size[a] - dilation[a] * (kernel_size[a] - 1) - 1) // stride[a] + 1 for a in (0, 1))
    y = np.zeros((x.shape[0], *kernels.shape[:2], height, width))
    for u, v, rows, columns in _taps(kernel_size, stride, dilation, (height, width)):
        y += np.einsum("goc,ngcij->ngoij", kernels[..., u, v], padded[..., rows, columns])
    return _epilogue(_merge(y, 1), bias, activation)


def conv2d_input(
    input_shape: Shape, weight: Array, grad: Array, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Array:
    """dx[n, c, i*sh + u*dh - top, j*sw + v*dw - left] += weight[o,c,u,v] * grad[n,o,i,j], summed over o,i,j,u,v.

    The adjoint of `conv2d` in x. Pixels that no window reaches get 0; what falls on the padding is dropped.

    Shapes: weight (O, C/groups, kh, kw), grad (N, O, H', W'); dx is `input_shape`, (N, C, H, W).
    """
    grads = _split(_float64(grad), 1, groups)
    kernels = _split(_float64(weight), 0, groups)
    padded = _split(_pad(np.zeros(input_shape), padding), 1, groups)
    for u, v, rows, columns in _taps(kernels.shape[-2:], stride, dilation, grads.shape[-2:]):
        padded[..., rows, columns] += np.einsum("goc,ngoij->ngcij", kernels[..., u, v], grads)
    return _merge(_crop(padded, padding), 1)


def conv2d_weight(
    x: Array, weight_shape: Shape, grad: Array, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Array:
    """dweight[o,c,u,v] = sum over n,i,j of grad[n,o,i,j] * x[n, c, i*sh + u*dh - top, j*sw + v*dw - left].

    The adjoint of `conv2d` in its weight.

    Shapes: x (N, C, H, W), grad (N, O, H', W'); dweight is `weight_shape`, (O, C/groups, kh, kw).
    """
    padded = _split(_pad(_float64(x), padding), 1, groups)
    grads = _split(_float64(grad), 1, groups)
    kernels = _split(np.zeros(weight_shape), 0, groups)
    for u, v, rows, columns in _taps(kernels.shape[-2:], stride, dilation, grads.shape[-2:]):
        kernels[..., u, v] = np.einsum("ngoij,ngcij->goc", grads, padded[..., rows, columns])
    return _merge(kernels, 0)


# Transposed convolution: every input pixel paints one kernel, the paintings are summed, then the border is cropped.


def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    stride: Pair,
    padding: Sides,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
    activation: str | None,
) -> Array:
    """y[n, o, i*sh + u*dh - top, j*sw + v*dw - left] += weight[c,o,u,v] * x[n,c,i,j], summed over c,i,j,u,v.

    The sum of shifted kernels, extended by `output_padding` rows below and columns to the right (no kernel reaches them
    before cropping), cropped by `padding`; the bias is added everywhere, the activation comes last.

    Shapes: x (N, C, H, W), weight (C, O/groups, kh, kw), bias (O,) or None; y (N, O, H', W') with
    H' = (H - 1)*sh + dh*(kh - 1) + 1 + output_padding - top - bottom.
    Source: Dumoulin & Visin 2016, chapter 4; as learned upsampling: Long, Shelhamer & Darrell 2015, section 3.3.
    """
    pixels = _split(_float64(x), 1, groups)
    kernels = _split(_float64(weight), 0, groups)
    size, kernel_size = pixels.shape[-2:], kernels.shape[-2:]
    height, width = (
        (size[a] - 1) * stride[a] + dilation[a] * (kernel_size[a] - 1) + 1 + output_padding[a] for a in (0, 1)
    )
    canvas = np.zeros((x.shape[0], groups, kernels.shape[2], height, width))
    for u, v, rows, columns in _taps(kernel_size, stride, dilation, size):
        canvas[..., rows, columns] += np.einsum("gco,ngcij->ngoij", kernels[..., u, v], pixels)
    return _epilogue(_merge(_crop(canvas, padding), 1), bias, activation)


def conv_transpose2d_input(
    input_shape: Shape, weight: Array, grad: Array, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Array:
    """dx[n,c,i,j] = sum over o,u,v of weight[c,o,u,v] * grad[n, o, i*sh + u*dh - top, j*sw + v*dw - left].

    The adjoint of `conv_transpose2d` in x; grad is 0 where it was cropped.

    Shapes: weight (C, O/groups, kh, kw), grad (N, O, H', W'); dx is `input_shape`, (N, C, H, W).
    """
    canvas = _split(_pad(_float64(grad), padding), 1, groups)
    kernels = _split(_float64(weight), 0, groups)
    pixels = _split(np.zeros(input_shape), 1, groups)
    for u, v, rows, columns in _taps(kernels.shape[-2:], stride, dilation, pixels.shape[-2:]):
        pixels += np.einsum("gco,ngoij->ngcij", kernels[..., u, v], canvas[..., rows, columns])
    return _merge(pixels, 1)


def conv_transpose2d_weight(
    x: Array, weight_shape: Shape, grad: Array, *, stride: Pair, padding: Sides, dilation: Pair, groups: int
) -> Array:
    """dweight[c,o,u,v] = sum over n,i,j of x[n,c,i,j] * grad[n, o, i*sh + u*dh - top, j*sw + v*dw - left].

    The adjoint of `conv_transpose2d` in its weight; grad is 0 where it was cropped.

    Shapes: x (N, C, H, W), grad (N, O, H', W'); dweight is `weight_shape`, (C, O/groups, kh, kw).
    """
    pixels = _split(_float64(x), 1, groups)
    canvas = _split(_pad(_float64(grad), padding), 1, groups)
    kernels = _split(np.zeros(weight_shape), 0, groups)
    for u, v, rows, columns in _taps(kernels.shape[-2:], stride, dilation, pixels.shape[-2:]):
        kernels[..., u, v] = np.einsum("ngcij,ngoij->gco", pixels, canvas[..., rows, columns])
    return _merge(kernels, 0)


def channel_sum(x: Array) -> Array:
    """s[c] = sum over n,i,j of x[n,c,i,j]: the gradient of a bias. Shapes: x (N, C, H, W), s (C,)."""
    return _float64(x).sum(axis=(0, 2, 3))


# Pooling and unpooling.


def max_pool2d(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Sides, dilation: Pair, output_size: Pair
) -> tuple[Array, Array, Array]:
    """y[n,c,i,j] = max over u,v of x[n, c, i*sh + u*dh - top, j*sw + v*dw - left], over the pixels that exist.

    Returns (y, indices, offsets), all (N, C, *output_size): with the maximum, the winner's place in its plane, flat in
    H*W, and in its window, u*kw + v. Ties go to the first in row-major order; NaN wins, the first NaN if several.
    Padding is no member of a window: an index always points into the plane, even where all members are -inf.

    Raises ValueError when a window holds no pixel (its taps can step over a plane smaller than the dilation).
    """
    x = _float64(x)
    height, width = x.shape[2:]
    shape = (*x.shape[:2], *output_size)
    y, indices, offsets = np.full(shape, -np.inf), np.full(shape, -1, np.int64), np.full(shape, -1, np.int64)
    for u in range(kernel_size[0]):
        for v in range(kernel_size[1]):
            rows = np.arange(output_size[0])[:, None] * stride[0] + u * dilation[0] - padding[0][0]
            columns = np.arange(output_size[1])[None, :] * stride[1] + v * dilation[1] - padding[1][0]
            exists = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
            value = x[:, :, rows.clip(0, height - 1), columns.clip(0, width - 1)]
            wins = exists & ((offsets < 0) | (value > y) | (np.isnan(value) & ~np.isnan(y)))
            np.copyto(y, value, where=wins)
            np.copyto(indices, rows * width + columns, where=wins)
            np.copyto(offsets, u * kernel_size[1] + v, where=wins)
    if np.any(offsets < 0):
        plane = f"{height}x{width}"
        raise ValueError(f"max_pool2d: a window holds no pixel of the {plane} plane; use less padding or dilation")
    return y, indices, offsets


def max_pool2d_indices(
    input_shape: Shape, offsets: Array, *, kernel_size: Pair, stride: Pair, padding: Sides, dilation: Pair
) -> Array:
    """index[n,c,i,j] = (i s + u d - top) W + j s + v d - left, with u kw + v = offsets[n,c,i,j]."""
    rows = np.arange(offsets.shape[2])[:, None] * stride[0] - padding[0][0]
    columns = np.arange(offsets.shape[3]) * stride[1] - padding[1][0]
    u, v = np.divmod(offsets.astype(np.int64), kernel_size[1])
    return (rows + u * dilation[0]) * input_shape[3] + columns + v * dilation[1]


def max_pool2d_input(
    input_shape: Shape, offsets: Array, grad: Array, *, kernel_size: Pair, stride: Pair, padding: Sides, dilation: Pair
) -> Array:
    """dx[n, c, i*sh + u*dh - top, j*sw + v*dw - left] += grad[n,c,i,j], where offsets[n,c,i,j] = u*kw + v.

    The adjoint of `max_pool2d`, its winners held fixed. Shapes: offsets and grad (N, C, H', W'); dx is `input_shape`.
    """
    n, c, i, j = np.ix_(*map(np.arange, grad.shape))
    u, v = np.divmod(np.asarray(offsets, dtype=np.int64), kernel_size[1])
    rows = i * stride[0] + u * dilation[0] - padding[0][0]
    columns = j * stride[1] + v * dilation[1] - padding[1][0]
    dx = np.zeros(input_shape)
    np.add.at(dx, (n, c, rows, columns), _float64(grad))
    return dx


def _flat_indices(function: str, indices: Array, pixels: int) -> Array:
    """The indices as (N, C, H*W), or IndexError."""
    if indices.size and (indices.min() < 0 or indices.max() >= pixels):
        raise IndexError(f"{function}: indices must lie in 0..{pixels - 1}, got {indices.min()} to {indices.max()}")
    n, c, h, w = indices.shape
    return np.asarray(indices, dtype=np.int64).reshape(n, c, h * w)


def max_unpool2d(x: Array, indices: Array, *, output_size: Pair) -> Array:
    """y[n, c, indices[n,c,i,j]] = x[n,c,i,j] with the plane of y flat in row-major order, 0 elsewhere.

    Of duplicate indices in a plane the last in row-major order wins. An index outside the plane raises IndexError.

    Shapes: x and indices (N, C, h, w); y (N, C, *output_size).
    Source: Zeiler & Fergus 2014, section 2.1 ("switches"); Noh, Hong & Han 2015, section 3.2.1.
    """
    n, c, h, w = x.shape
    height, width = output_size
    targets = _flat_indices("max_unpool2d", indices, height * width)
    values = _float64(x).reshape(n, c, h * w)
    y = np.zeros((n, c, height * width))
    planes = np.ix_(np.arange(n), np.arange(c))
    for k in range(h * w):  # one at a time: NumPy leaves open which of several assignments to one element comes last
        y[*planes, targets[..., k]] = values[..., k]
    return y.reshape(n, c, height, width)


def max_unpool2d_input(grad: Array, indices: Array) -> Array:
    """dx[n,c,i,j] = grad[n, c, indices[n,c,i,j]], or 0 where a later duplicate of that index overwrote x[n,c,i,j].

    The adjoint of `max_unpool2d` in x. Shapes: grad (N, C, H, W), indices and dx (N, C, h, w).
    """
    n, c, h, w = indices.shape
    pixels = grad.shape[2] * grad.shape[3]
    sources = _flat_indices("max_unpool2d_input", indices, pixels)
    remaining = _float64(grad).reshape(n, c, pixels).copy()
    dx = np.zeros((n, c, h * w))
    planes = np.ix_(np.arange(n), np.arange(c))
    for k in reversed(range(h * w)):  # the assignments of max_unpool2d undone, the last one first
        dx[..., k] = remaining[*planes, sources[..., k]]
        remaining[*planes, sources[..., k]] = 0
    return dx.reshape(n, c, h, w)


# Pointwise, loss, concatenation.


def relu(x: Array) -> Array:
    """y = max(x, 0), elementwise; NaN stays NaN."""
    return np.maximum(_float64(x), 0.0)


def add(x: Array, y: Array) -> Array:
    """z = x + y, elementwise."""
    return _float64(x) + _float64(y)


def relu_input(y: Array, grad: Array) -> Array:
    """dx = 0 where y <= 0, else grad: the gradient of `relu` from its result y (0 at 0; grad where y is NaN)."""
    return np.where(_float64(y) <= 0, 0.0, _float64(grad))


def _log_softmax(x: Array) -> Array:
    # the maximum is subtracted so that exp never overflows and its sum is at least 1
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def softmax(x: Array) -> Array:
    """p[n,k,i,j] = exp(x[n,k,i,j]) / sum over l of exp(x[n,l,i,j]). Shapes: x and p (N, K, H, W)."""
    x = _float64(x)
    exponentials = np.exp(x - x.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def bias_relu_input(y: Array, grad: Array) -> tuple[Array, Array]:
    """dx = relu_input(y, grad) and db[c] = sum over n,i,j of dx[n,c,i,j]: the gradients of y = relu(x + b)."""
    dx = relu_input(y, grad)
    return dx, channel_sum(dx)


def softmax_input(y: Array, grad: Array) -> Array:
    """dx[n,k,i,j] = y[n,k,i,j] (grad[n,k,i,j] - sum over l of y[n,l,i,j] grad[n,l,i,j]), y being softmax(x)."""
    y, grad = _float64(y), _float64(grad)
    return y * (grad - (y * grad).sum(axis=1, keepdims=True))


def _targets(function: str, labels: Array, classes: int, ignore_index: int) -> tuple[Array, Array]:
    """Which pixels count, and their classes (0 where ignored); both (N, 1, H, W)."""
    counted = labels != ignore_index
    outside = counted & ((labels < 0) | (labels >= classes))
    if outside.any():
        allowed = f"lie in 0..{classes - 1} or be ignore_index={ignore_index}"
        raise IndexError(f"{function}: labels must {allowed}, got {labels[outside][0]}")
    return counted[:, None], np.where(counted, labels, 0).astype(np.int64)[:, None]


def cross_entropy(logits: Array, labels: Array, *, ignore_index: int, reduction: str) -> Array:
    """loss = sum, or mean, over the counted pixels of -log softmax(logits)[n, labels[n,i,j], i, j].

    Pixels labelled `ignore_index` do not count. With none counted the sum is 0 and the mean 0/0 = NaN, as in PyTorch.

    Shapes: logits (N, K, H, W), labels (N, H, W) of any integer dtype; a 0-d array. `reduction` is "mean" or "sum".
    Raises IndexError for a label that is neither in 0..K-1 nor `ignore_index`.
    Source: Long, Shelhamer & Darrell 2015, section 4.
    """
    counted, classes = _targets("cross_entropy", labels, logits.shape[1], ignore_index)
    losses = -np.take_along_axis(_log_softmax(_float64(logits)), classes, axis=1)
    total = losses[counted].sum()
    if reduction == "mean":
        total = total / counted.sum() if counted.any() else np.nan
    return np.asarray(total)


def cross_entropy_input(logits: Array, labels: Array, *, ignore_index: int, reduction: str) -> Array:
    """dlogits[n,k,i,j] = softmax(logits)[n,k,i,j] - [k = labels[n,i,j]], divided by the count of pixels for the mean.

    The gradient of `cross_entropy`. Ignored pixels get exactly 0; so, as in PyTorch, where none counts all of it is 0,
    although the mean is NaN. Shapes and errors: as there; dlogits (N, K, H, W).
    """
    counted, classes = _targets("cross_entropy_input", labels, logits.shape[1], ignore_index)
    one_hot = np.arange(logits.shape[1])[:, None, None] == classes
    gradient = np.where(counted, softmax(logits) - one_hot, 0.0)
    return gradient / max(counted.sum(), 1) if reduction == "mean" else gradient


def concatenate(xs: list[Array] | tuple[Array, ...]) -> Array:
    """y[n,:,i,j] = (xs[0][n,:,i,j], xs[1][n,:,i,j], ...): along the channels.

    Shapes: each (N, C_k, H, W); y (N, C_0 + C_1 + ..., H, W).
    """
    return np.concatenate([_float64(x) for x in xs], axis=1)
