"""Arrays as training data, and everything that can be wrong with them said at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..errors import InputError
from ..settings import CLASSES
from .data import VOID, Array, Data, Sample, split, told
from .device import hosted


def from_arrays(
    images: Iterable[Array],
    labels: Iterable[Array],
    *,
    classes: int | None = None,
    validation: float = 0.2,
    test: float | None = None,
    seed: int = 0,
) -> Data:
    """Arrays as data for `fit`, a random share of them held out.

    images: H x W or H x W x C each, of any sizes and dtype, finite, all with as many channels; labels: H x W integers
    each, 0..classes-1, or 255 for pixels that count nowhere. classes: by default one more than the largest label, at
    least 2. validation: the share that is held out for the test, or where `test` is a further share for that, which
    nothing is chosen by, to watch; drawn with `seed`.
    Raises InputError with one sentence for everything that is wrong, and TypeError for CuPy arrays: batches go to the
    GPU one by one.

    >>> import numpy as np
    >>> from upconv import nn
    >>> images = np.random.default_rng(0).random((10, 32, 32))
    >>> data = nn.from_arrays(images, images > 0.5, validation=0.3)
    >>> len(data.train), len(data.test), data.classes, data.channels
    (7, 3, 2, 1)
    """
    xs = [hosted(f"from_arrays: image {number}", x) for number, x in enumerate(images)]
    ys = [hosted(f"from_arrays: labels {number}", y) for number, y in enumerate(labels)]
    if len(xs) != len(ys):
        raise InputError(f"from_arrays: there are {len(xs)} images and {len(ys)} labels; as many are needed")
    if classes is not None and (problem := CLASSES.problem("from_arrays: classes", classes)):
        raise InputError(problem)
    known = [y[y != VOID] for y in ys if y.dtype.kind in "bui"]
    count = classes or max([2, *(1 + int(y.max(initial=0)) for y in known)])
    xs = [x[:, :, None] if x.ndim == 2 else x for x in xs]
    wanted = xs[0].shape[2:] if xs else ()
    problems = []
    for number, (x, y) in enumerate(zip(xs, ys, strict=True)):
        problem = _wrong_image(x, wanted) or _wrong_labels(y, x.shape[:2], min(count, VOID))
        problems += [f"from_arrays: image {number}: {problem}"] if problem else []
    if problems:
        raise InputError(problems)
    samples = [Sample(f"image {i}", x, y.astype(np.uint8)) for i, (x, y) in enumerate(zip(xs, ys, strict=True))]
    train, watched, last = split(samples, validation, test, seed)
    return Data("arrays", f"{len(samples)} arrays: {told(train, watched, last)}", train, last, count, watched)


def _wrong_image(x: Array, channels: tuple[int, ...]) -> str:
    if x.ndim != 3 or 0 in x.shape or x.dtype.kind not in "buif":
        return f"it is {x.dtype} of shape {x.shape}; H x W or H x W x C numbers are needed"
    if x.shape[2:] != channels:
        return f"it has {x.shape[2]} channels, the first {channels[0] if channels else 'none'}; all must have as many"
    return "" if np.isfinite(x).all() else "it holds NaN or infinite values; every pixel must be finite"


def _wrong_labels(y: Array, size: tuple[int, ...], classes: int) -> str:
    if y.dtype.kind not in "bui" or y.shape != size:
        return f"its labels are {y.dtype} of shape {y.shape}; integers of shape {size} are needed"
    known = y[y != VOID]
    if not known.size:
        return f"its labels are all void ({VOID}): there is nothing to learn from it"
    if known.min() < 0 or known.max() >= classes:
        return f"its labels are {known.min()} to {known.max()}; 0 to {classes - 1}, and {VOID} for void, are allowed"
    return ""
