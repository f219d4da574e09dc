"""The operators of `upconv.kernels` on tensors: each computes, and says how its gradient is sent back.

There is one for every operator that has gradients, made from the operator's own declaration (`derive.py`): arguments,
shapes, errors and text are those of the kernel of the same name. Images and labels may be arrays or `Tensor`s. What has
a weight brings its input into channels-last memory, and everything after it stays in it.

Only what needs more than its kernel is written here: max-pooling (which keeps the winner's place in its window instead
of its position), unpooling (which knows the positions that were found here), batch normalisation with its running
statistics, dropout with its seed, and what moves numbers about (concatenate, crop, flatten, unflatten).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import wraps
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from .. import kernels
from ..kernels.capture import before_launch, capturing, outside
from ..kernels.layout import empty
from ..kernels.namespace import namespace, trusted
from ..kernels.op import OPERATORS
from .derive import Input, differentiable
from .init import generator
from .modes import told
from .tensor import Array, Tensor, as_tensor, record, recording

_derived = {name: differentiable(getattr(kernels, name)) for name, op in OPERATORS.items() if op.gradients}
globals().update(_derived)  # those that are written below replace theirs

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Any]: ...


def max_pool2d(
    x: Input,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """y[n,c,i,j] = max over u,v of x[n, c, i s - p + u d, j s - p + v d], as `kernels.max_pool2d`.

    Returns a Tensor, or with return_indices=True the pair (y, indices): int64, flat in H W, what `max_unpool2d` takes.
    """
    x = as_tensor(x)
    window = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
    if not recording(x):
        results = kernels.max_pool2d(x.data, kernel_size, return_indices=return_indices, **window)
        tensors = (Tensor(results[0]), Positions(results[1], x.shape)) if return_indices else Tensor(results)
        return told("max_pool2d", {"x": x, "kernel_size": kernel_size, **window}, tensors)
    y, offsets = _derived["max_pool2d_offsets"](x, kernel_size, **window)
    if not return_indices:
        return y
    with trusted():  # the offsets are those that were just found
        return y, Positions(kernels.max_pool2d_indices(x.shape, offsets.data, kernel_size, **window), x.shape)


class Positions(Tensor):
    """Where max-pooling found what it kept in maps of this `whole` shape: known to lie in them without a look."""

    __slots__ = ("whole",)

    def __init__(self, data: Array, whole: tuple[int, ...]) -> None:
        """data: the indices."""
        super().__init__(data)
        self.whole = whole


@wraps(_derived["max_unpool2d"])
def max_unpool2d(x: Input, indices: Input, kernel_size: Any, **options: Any) -> Tensor:
    """Positions that `max_pool2d` found in maps of the result's size are not looked at on a GPU."""
    size = options.get("output_size")
    known = isinstance(indices, Positions) and size is not None and tuple(size)[-2:] == indices.whole[-2:]
    with trusted() if known else nullcontext():
        return _derived["max_unpool2d"](x, indices, kernel_size, **options)


def batch_norm(
    x: Input,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Input | None = None,
    bias: Input | None = None,
    *,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    activation: str | None = None,
) -> Tensor:
    """y[n,c,i,j] = f(w[c] (x[n,c,i,j] - m[c]) / sqrt(v[c] + eps) + b[c]), as `torch.nn.functional.batch_norm`.

    m, v: in training the mean and the biased variance of the batch, and then the arrays running_mean and running_var
    are moved in place, as (1 - momentum) running + momentum (the batch's, unbiased); else those arrays. None: no
    statistics are kept. x: (N, C, H, W), or (N, C). activation: "relu" or None, f in the same pass.

    Raises what `kernels.batch_norm_training` and `kernels.batch_norm` raise, and ValueError without running statistics
    where training is False.
    """
    options = {"eps": eps, "activation": activation}
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: running_mean and running_var must be given unless training=True, got None")
        return _derived["batch_norm"](x, running_mean, running_var, weight, bias, **options)
    y, mean, variance = _derived["batch_norm_training"](x, weight, bias, **options)
    count = y.size // max(y.shape[1], 1)
    if running_mean is not None and running_var is not None and count:
        running_mean += momentum * (mean.data - running_mean)
        running_var += momentum * (variance.data * (count / (count - 1)) - running_var)
    return y


def dropout(x: Input, *, p: float = 0.5, training: bool = True, seed: int | None = None) -> Tensor:
    """y[...] = x[...] m[...] / (1 - p), each m being 0 with probability p, else 1; y = x where training is False.

    As `kernels.dropout`. seed: the m are the same for the same seed; None draws one from the generator that
    `manual_seed` restarts, also before each launch of a step that `capture` has captured.
    """
    x = as_tensor(x)
    if not training:
        return x
    if capturing():
        return _captured_dropout(x, p, seed)
    return _derived["dropout"](x, p=p, seed=_drawn(seed))


def _drawn(seed: int | None) -> int:
    return int(generator().integers(2**63)) if seed is None else seed


def _captured_dropout(x: Tensor, p: float, seed: int | None) -> Tensor:
    """`dropout` in a graph: its seed goes by value, so m / (1 - p) is computed before each launch, outside of it."""
    xp = namespace(x.data)
    with outside():
        factors = empty(x.shape, x.dtype, x.data)

    def draw() -> None:
        factors.fill(1)
        kernels.dropout(factors, p=p, seed=_drawn(seed), out=factors)

    before_launch(draw)

    def times(numbers: Array) -> Array:
        return xp.multiply(numbers, factors, out=xp.empty_like(numbers))

    return record("dropout", times(x.data), [x], lambda grad: [times(grad)])


def concatenate(xs: Sequence[Input]) -> Tensor:
    """y = the channels of every x, one after the other; no copy where they already are neighbours in one buffer.

    `kernels.channel_slots` makes such a buffer. The gradients are slices of the result's gradient, not copies.
    """
    inputs = [as_tensor(x) for x in xs]
    y = kernels.concatenate([x.data for x in inputs])
    ends = [*accumulate((x.shape[1] for x in inputs), initial=0)]

    def backward(grad: Array) -> Sequence[Array]:
        return [grad[:, start:end] for start, end in pairwise(ends)]

    return record("concatenate", y, inputs, backward)


def crop(x: Input, size: Sequence[int], offset: int | None = None) -> Tensor:
    """`size` = (height, width) of every plane, as a view: the middle, or from `offset` rows and columns on.

    In the middle, of odd margins the larger is last.
    """
    x = as_tensor(x)
    window = centre(x.shape, size) if offset is None else _corner(x.shape, size, offset)
    start = [cut.start or 0 for cut in window[2:]]
    if window == (slice(None),) * 4:
        return told("crop", {"inputs": [x], "start": start}, x)
    shape = x.shape

    def backward(grad: Array) -> Sequence[Array]:
        whole = empty(shape, grad.dtype, grad)
        whole.fill(0)
        whole[window] = grad
        return [whole]

    return record("crop", x.data[window], [x], backward, start=start)


def flatten(x: Input, start_dim: int = 1, end_dim: int = -1) -> Tensor:
    """y = x with the axes from start_dim to end_dim as one, row by row, as `torch.flatten`; a view where it can be.

    By default N C H W -> N (C H W).
    """
    x = as_tensor(x)
    shape = x.shape
    first, last = (range(x.ndim)[axis] for axis in (start_dim, end_dim))
    if first > last:
        raise ValueError(f"flatten: start_dim={start_dim} comes after end_dim={end_dim} in shape {shape}")
    y = x.data.reshape(*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])
    return record("flatten", y, [x], lambda grad: [grad.reshape(shape)])


def unflatten(x: Input, dim: int, sizes: Sequence[int]) -> Tensor:
    """y = x with axis dim as several axes of these `sizes`, row by row, as `torch.unflatten` without -1."""
    x = as_tensor(x)
    shape, axis = x.shape, range(x.ndim)[dim]
    if math.prod(sizes) != shape[axis]:
        raise ValueError(f"unflatten: sizes {tuple(sizes)} do not fit the {shape[axis]} elements of axis {dim}")
    y = x.data.reshape(*shape[:axis], *sizes, *shape[axis + 1 :])
    return record("unflatten", y, [x], lambda grad: [grad.reshape(shape)])


def centre(shape: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    """The index that cuts the middle `size` out of an array of this N C H W shape."""
    margins = [have - want for have, want in zip(shape[-2:], size, strict=True)]
    if len(shape) != 4 or min(margins) < 0:
        raise ValueError(f"crop: {tuple(size)} does not fit into the height and width of shape {tuple(shape)}")
    cuts = [slice(m // 2, m // 2 + want) if m else slice(None) for m, want in zip(margins, size, strict=True)]
    return (slice(None), slice(None), *cuts)


def _corner(shape: Sequence[int], size: Sequence[int], offset: int) -> tuple[slice, ...]:
    """The index that cuts `size` out of an array of this N C H W shape from row and column `offset` on."""
    room = [have - want - offset for have, want in zip(shape[-2:], size, strict=True)]
    if len(shape) != 4 or offset < 0 or min(room) < 0:
        raise ValueError(f"crop: {tuple(size)} at offset {offset} does not fit into shape {tuple(shape)}")
    cuts = [
        slice(offset, offset + want) if offset or free else slice(None) for free, want in zip(room, size, strict=True)
    ]
    return (slice(None), slice(None), *cuts)


__all__ = sorted({*_derived, "batch_norm", "concatenate", "crop", "dropout", "flatten", "max_pool2d", "unflatten"})
