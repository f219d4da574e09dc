"""Losses, from the definition."""

import numpy as np

from .arrays import Array, float64
from .normalization import softmax


def _log_softmax(x: Array) -> Array:
    # the maximum is subtracted so that exp never overflows and its sum is at least 1
    shifted = x - x.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _targets(function: str, labels: Array, classes: int, ignore_index: int) -> tuple[Array, Array]:
    """Which pixels count, and their classes (0 where ignored); both (N, 1, H, W)."""
    counted = labels != ignore_index
    outside = counted & ((labels < 0) | (labels >= classes))
    if outside.any():
        allowed = f"lie in 0..{classes - 1} or be ignore_index={ignore_index}"
        raise IndexError(f"{function}: labels must {allowed}, got {labels[outside][0]}")
    return counted[:, None], np.where(counted, labels, 0).astype(np.int64)[:, None]


def _divided(total: Array, by: float, reduction: str) -> Array:
    """`total`, or total / by for the mean: NaN or infinite where that is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / np.float64(by) if reduction == "mean" else total)


def nll_loss(
    log_probabilities: Array, labels: Array, weight: Array | None = None, *, ignore_index: int, reduction: str
) -> Array:
    """loss = sum over the counted pixels of -weight[l] log_probabilities[n, l, i, j], l = labels[n,i,j].

    The mean is that over the sum of the same weights. Pixels labelled `ignore_index` do not count. With none counted
    the sum is 0 and the mean 0/0 = NaN, as in PyTorch.

    Shapes: log_probabilities (N, K, H, W), labels (N, H, W) of any integer dtype, weight (K,), None for ones; a 0-d
    array. `reduction` is "mean" or "sum".
    Raises IndexError for a label that is neither in 0..K-1 nor `ignore_index`.
    """
    counted, classes = _targets("nll_loss", labels, log_probabilities.shape[1], ignore_index)
    classes = classes[counted]
    weights = np.ones(classes.size) if weight is None else float64(weight)[classes]
    values = np.moveaxis(float64(log_probabilities), 1, -1)[counted[:, 0], classes]
    with np.errstate(invalid="ignore"):
        return _divided(-(weights * values).sum(), weights.sum(), reduction)


def nll_loss_input(
    log_probabilities: Array, labels: Array, weight: Array | None = None, *, ignore_index: int, reduction: str
) -> Array:
    """d[n,k,i,j] = -weight[k] [k = labels[n,i,j]], divided by the sum of the weights for the mean.

    The gradient of `nll_loss`; ignored pixels get exactly 0. Shapes and errors: as there; d (N, K, H, W).
    """
    counted, classes = _targets("nll_loss_input", labels, log_probabilities.shape[1], ignore_index)
    one_hot = counted & (np.arange(log_probabilities.shape[1])[:, None, None] == classes)
    weights = one_hot * (1.0 if weight is None else float64(weight)[:, None, None])
    return np.where(one_hot, _divided(-weights, weights.sum(), reduction), 0.0)


def cross_entropy(
    logits: Array, labels: Array, weight: Array | None = None, *, ignore_index: int, reduction: str
) -> Array:
    """loss = `nll_loss` of log softmax(logits).

    Shapes, reduction and errors as there. Source: Long, Shelhamer & Darrell 2015, section 4.
    """
    _targets("cross_entropy", labels, logits.shape[1], ignore_index)
    if not logits.size:
        return np.asarray(np.nan if reduction == "mean" else 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return nll_loss(_log_softmax(float64(logits)), labels, weight, ignore_index=ignore_index, reduction=reduction)


def cross_entropy_input(
    logits: Array, labels: Array, weight: Array | None = None, *, ignore_index: int, reduction: str
) -> Array:
    """dlogits[n,k,i,j] = weight[l] (softmax(logits)[n,k,i,j] - [k = l]), l = labels[n,i,j]; over the sum for the mean.

    The gradient of `cross_entropy`. Ignored pixels get exactly 0; so, as in PyTorch, where none counts all of it is 0,
    although the mean is NaN. Shapes and errors: as there; dlogits (N, K, H, W).
    """
    counted, classes = _targets("cross_entropy_input", labels, logits.shape[1], ignore_index)
    if not logits.size:
        return np.zeros(logits.shape)
    one_hot = np.arange(logits.shape[1])[:, None, None] == classes
    weights = counted * (1.0 if weight is None else float64(weight)[classes])
    with np.errstate(invalid="ignore"):
        gradient = _divided(weights * (softmax(logits) - one_hot), weights.sum(), reduction)
    return np.where(counted, gradient, 0.0)


def _overlaps(
    function: str, logits: Array, labels: Array, ignore_index: int, smooth: float, squared: bool
) -> tuple[Array, Array, Array, Array]:
    """Probabilities and one-hot labels, 0 where ignored, and the numerator and denominator of each class's overlap."""
    counted, classes = _targets(function, labels, logits.shape[1], ignore_index)
    wanted = counted & (np.arange(logits.shape[1])[:, None, None] == classes)
    p = np.where(counted, softmax(logits), 0.0) if logits.size else np.zeros(logits.shape)
    axes = (0, 2, 3)
    sizes = (p * p if squared else p).sum(axis=axes) + wanted.sum(axis=axes)
    return p, wanted, 2 * (p * wanted).sum(axis=axes) + smooth, sizes + smooth


def dice_loss(logits: Array, labels: Array, *, ignore_index: int, smooth: float, squared: bool) -> Array:
    """loss = 1 - mean over k of (2 sum of p_k g_k + smooth) / (sum of p_k + sum of g_k + smooth).

    p = softmax(logits); g_k is 1 where the label is k; sums are over all pixels not labelled `ignore_index`. squared:
    p_k^2 instead of p_k in the denominator. NaN without classes, and where smooth is 0 and a class has neither p nor g.

    Shapes: as in `nll_loss`. Source: Milletari, Navab & Ahmadi 2016, section 3; Sudre et al. 2017, section 2.
    """
    *_, above, below = _overlaps("dice_loss", logits, labels, ignore_index, smooth, squared)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1 - (above / below).sum() / np.float64(logits.shape[1]))


def dice_loss_input(logits: Array, labels: Array, *, ignore_index: int, smooth: float, squared: bool) -> Array:
    """dlogits[n,k,i,j] = p_k (d_k - sum over l of p_l d_l), d the gradient of `dice_loss` with respect to p.

    d_k = (A_k (1, or 2 p_k if squared) / B_k - 2 g_k) / (B_k K), A_k and B_k the numerator and the denominator. Ignored
    pixels get 0. Shapes and errors: as in `dice_loss`; dlogits (N, K, H, W).
    """
    p, wanted, above, below = _overlaps("dice_loss_input", logits, labels, ignore_index, smooth, squared)
    counted = (labels != ignore_index)[:, None]
    a, b = above[:, None, None], below[:, None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        d = (a / b * (2 * p if squared else 1) - 2 * wanted) / (b * max(1, logits.shape[1]))
        return np.where(counted, p * (d - (p * d).sum(axis=1, keepdims=True)), 0.0)


def l1_loss(x: Array, target: Array, *, reduction: str) -> Array:
    """loss = sum, or mean, of |x - target|. Any shape; a 0-d array, NaN for the mean of nothing."""
    return _divided(np.abs(float64(x) - float64(target)).sum(), x.size, reduction)


def l1_loss_input(x: Array, target: Array, *, reduction: str) -> Array:
    """dx = sign(x - target), 0 where they are equal or either is NaN, over the count for the mean."""
    distance = float64(x) - float64(target)
    return _divided((distance > 0) * 1.0 - (distance < 0), max(1, x.size), reduction)


def mse_loss(x: Array, target: Array, *, reduction: str) -> Array:
    """loss = sum, or mean, of (x - target)^2. Any shape; a 0-d array, NaN for the mean of nothing."""
    return _divided(((float64(x) - float64(target)) ** 2).sum(), x.size, reduction)


def mse_loss_input(x: Array, target: Array, *, reduction: str) -> Array:
    """dx = 2 (x - target), over the count for the mean."""
    return _divided(2 * (float64(x) - float64(target)), max(1, x.size), reduction)


def _weighted(target: Array, weight: Array | None, pos_weight: Array | None) -> tuple[Array, Array]:
    """What the loss costs per unit of softplus(x) and of softplus(-x)."""
    target = float64(target)
    weights = 1.0 if weight is None else float64(weight)
    return weights * (1 - target), weights * target * (1.0 if pos_weight is None else float64(pos_weight))


def binary_cross_entropy_with_logits(
    x: Array, target: Array, weight: Array | None = None, pos_weight: Array | None = None, *, reduction: str
) -> Array:
    """loss = sum, or mean, of weight ((1 - t) log(1 + exp(x)) + pos_weight t log(1 + exp(-x))), t being target.

    Any shape; weight and pos_weight of the same; a 0-d array, NaN for the mean of nothing.
    """
    x = float64(x)
    no, yes = _weighted(target, weight, pos_weight)
    with np.errstate(invalid="ignore"):
        tail = np.log1p(np.exp(-np.abs(x)))
        losses = no * (np.maximum(x, 0) + tail) + yes * (np.maximum(-x, 0) + tail)
    return _divided(losses.sum(), x.size, reduction)


def binary_cross_entropy_with_logits_input(
    x: Array, target: Array, weight: Array | None = None, pos_weight: Array | None = None, *, reduction: str
) -> Array:
    """dx = weight ((1 - t) s(x) - pos_weight t s(-x)), s(x) = 1 / (1 + exp(-x)), over the count for the mean."""
    x = float64(x)
    no, yes = _weighted(target, weight, pos_weight)
    small = np.exp(-np.abs(x))
    large = 1 / (1 + small)
    small = small * large
    return _divided(no * np.where(x < 0, small, large) - yes * np.where(x < 0, large, small), max(1, x.size), reduction)
