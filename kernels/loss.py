"""Losses over the pixels of a batch: rules and docstrings."""

from typing import Any

from . import reference
from .arguments import Arguments
from .case import Case, Output
from .cpu import loss as cpu
from .layout import Array, format_of
from .op import Variant, operator

REDUCTIONS = ("mean", "sum")


def _labelled(
    check: Arguments, logits: Any, labels: Any, ignore_index: Any, reduction: Any
) -> tuple[Array, Array, dict]:
    logits = check.array("logits", logits, "NKHW")
    n, k, h, w = logits.shape
    labels = check.integers("labels", labels, (n, h, w))
    ignored = check.integer("ignore_index", ignore_index, -(2**63), 2**63 - 1)
    bad = ((labels < 0) | (labels >= k)) & (labels != ignored)
    if bad.any():
        check.fail(f"labels must be 0..{k - 1} or ignore_index={ignored}, got {labels[bad][0]}", IndexError)
    parameters = {"ignore_index": ignored, "reduction": check.choice("reduction", reduction, REDUCTIONS)}
    return logits, labels, parameters


@operator(reference=reference.cross_entropy_input, variants=[Variant("direct", cpu.cross_entropy_input)])
def cross_entropy_input(
    logits: Array,
    labels: Array,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    algorithm: str = "auto",
) -> Case:
    """dz[n,k,i,j] = (softmax(z)[n,k,i,j] - [k = label[n,i,j]]) / M; 0 at ignored pixels. M = 1 for reduction "sum".

    The gradient of `cross_entropy` with respect to the logits z; M is the number of pixels that are not ignored.
    Arguments and errors as in `cross_entropy`. Returns (N, K, H, W) in the format of `logits`.
    """
    check = Arguments("cross_entropy_input")
    logits, labels, parameters = _labelled(check, logits, labels, ignore_index, reduction)
    outputs = (Output(logits.shape, logits.dtype, format_of(logits)),)
    return Case((logits, labels), outputs, parameters, maps=(0,), flops=5 * logits.size, algorithm=algorithm)


@operator(
    reference=reference.cross_entropy,
    variants=[Variant("direct", cpu.cross_entropy)],
    gradients={"logits": cross_entropy_input},
)
def cross_entropy(
    logits: Array,
    labels: Array,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    algorithm: str = "auto",
) -> Case:
    """L = sum over the M pixels (n,i,j) not ignored of -log softmax(z)[n, label[n,i,j], i, j], over M if "mean".

    Per-pixel softmax and cross-entropy in one, as `torch.nn.functional.cross_entropy`. The sum is float64.

    logits: z, (N, K, H, W), float32 or float64. labels: (N, H, W), any integer dtype, 0..K-1 or ignore_index.
    ignore_index: the label of void pixels (255 in many data sets), which neither cost nor count.
    reduction: "mean" (nan where all pixels are ignored, as in PyTorch) or "sum" (0 there).

    Returns a 0-d array of the logits' dtype.

    Raises ValueError, TypeError, or IndexError for a label that is no class.

    Source: Long, Shelhamer & Darrell, "Fully convolutional networks for semantic segmentation" (2015), section 3.4.

    >>> import numpy as np
    >>> from upconv.kernels import cross_entropy
    >>> cross_entropy(np.zeros((1, 2, 1, 1)), np.array([[[1]]])).round(4)
    np.float64(0.6931)
    """
    check = Arguments("cross_entropy")
    logits, labels, parameters = _labelled(check, logits, labels, ignore_index, reduction)
    outputs = (Output((), logits.dtype),)
    return Case((logits, labels), outputs, parameters, maps=(0,), flops=4 * logits.size, algorithm=algorithm)
