"""The soft Dice loss: rules and docstrings."""

from typing import Any

from . import reference
from .case import Case
from .cpu import dice as cpu
from .cuda import dice as cuda
from .labelled import Labelled
from .layout import Array
from .op import Variant, operator


def _overlapping(
    name: str, logits: Any, labels: Any, ignored: Any, smooth: Any, squared: Any, gradient: bool, algorithm: str
) -> Case:
    checked = Labelled(name, "logits", logits, labels, ignored)
    checked.parameters |= {
        "smooth": checked.check.real("smooth", smooth, 0),
        "squared": checked.check.flag("squared", squared),
    }
    return checked.case(gradient=gradient, flops=12 if gradient else 6, algorithm=algorithm)


@operator(
    reference=reference.dice_loss_input,
    variants=[
        Variant("direct", cpu.dice_loss_input),
        Variant("cuda", cuda.dice_loss_input, device="cuda", refuses=cuda.refuses),
    ],
)
def dice_loss_input(
    logits: Array,
    labels: Array,
    *,
    ignore_index: int = -100,
    smooth: float = 1.0,
    squared: bool = False,
    algorithm: str = "auto",
) -> Case:
    """dz[n,k,i,j] = p_k (d_k - sum over l of p_l d_l), p = softmax(z)[n,:,i,j]; 0 at ignored pixels.

    The gradient of `dice_loss` with respect to the logits z. d_k = (A_k / B_k - 2 [k = label[n,i,j]]) / (K B_k), with
    A_k / B_k the quotient there, and A_k / B_k times 2 p_k if `squared`. Arguments and errors as in `dice_loss`.

    Returns the shape of `logits` in its format.

    >>> import numpy as np
    >>> from upconv.kernels import dice_loss_input
    >>> dice_loss_input(np.zeros((1, 2)), np.array([0]), smooth=0).round(4)
    array([[-0.1111,  0.1111]])
    """
    return _overlapping("dice_loss_input", logits, labels, ignore_index, smooth, squared, True, algorithm)


@operator(
    reference=reference.dice_loss,
    variants=[
        Variant("direct", cpu.dice_loss),
        Variant("cuda", cuda.dice_loss, device="cuda", refuses=cuda.refuses),
    ],
    gradients={"logits": dice_loss_input},
)
def dice_loss(
    logits: Array,
    labels: Array,
    *,
    ignore_index: int = -100,
    smooth: float = 1.0,
    squared: bool = False,
    algorithm: str = "auto",
) -> Case:
    """L = 1 - sum over k of A_k / B_k / K, A_k = 2 sum of p_k g_k + smooth, B_k = sum of p_k + sum of g_k + smooth.

    The soft Dice loss: one minus the overlap of what is predicted and what is there, the mean over all K classes, so
    that rare classes weigh as much as frequent ones. p = softmax(z) over the classes, g_k is 1 where the label is k and
    else 0, and the sums are over all pixels of the batch that are not ignored. All sums are float64.

    logits: z, (N, K), (N, K, H, W) or (N, K, ...), float32 or float64.
    labels: (N,), (N, H, W) or (N, ...), any integer dtype, 0..K-1 or ignore_index.
    ignore_index: the label of void pixels (255 in many data sets), which do not count, whatever they hold.
    smooth: at least 0; keeps the quotient of a class that is nowhere at 1. With 0 it is NaN where all pixels are void.
    squared: sum p_k^2 instead of p_k in B_k, as Milletari et al. do.

    Returns a 0-d array of the logits' dtype. Where all pixels are void the loss is 0 if `smooth` is more than 0.

    Raises ValueError, TypeError, or IndexError for a label that is no class.

    Source: Milletari, Navab & Ahmadi, "V-Net: fully convolutional neural networks for volumetric medical image
    segmentation" (2016), section 3; Sudre, Li, Vercauteren, Ourselin & Cardoso, "Generalised Dice overlap as a deep
    learning loss function for highly unbalanced segmentations" (2017), section 2.1.

    >>> import numpy as np
    >>> from upconv.kernels import dice_loss
    >>> dice_loss(np.zeros((1, 2)), np.array([0]), smooth=0).round(4)
    np.float64(0.6667)
    """
    return _overlapping("dice_loss", logits, labels, ignore_index, smooth, squared, False, algorithm)
