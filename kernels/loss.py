"""Losses of scores for classes, given each pixel's class: rules and docstrings."""

from typing import Any

from . import reference
from .arguments import Arguments
from .case import Case, Output
from .cpu import dice
from .cpu import loss as cpu
from .cuda import dice as cuda_dice
from .cuda import loss as cuda
from .layout import Array, format_of
from .namespace import host, readable
from .op import Variant, operator

REDUCTIONS = ("mean", "sum")


class _Labelled:
    """Scores (N, K, ...), and labels (N, ...) that are classes or `ignore_index`."""

    def __init__(self, function: str, name: str, scores: Any, labels: Any, ignore_index: Any) -> None:
        """name: that of the scores."""
        self.check = check = Arguments(function)
        self.scores = check.per_class(name, scores)
        n, k, h, w = self.scores.shape
        self.shape = scores.shape
        labels = check.integers("labels", labels, (n, *self.shape[2:]))
        ignored = check.integer("ignore_index", ignore_index, -(2**63), 2**63 - 1)
        outside = labels.view(labels.dtype.str.replace("i", "u")) >= k  # negative ones are large then
        if readable(labels) and outside.any():
            outside &= labels != ignored
            if outside.any():
                first = host(labels[outside])[0]
                check.fail(f"labels must be 0..{k - 1} or ignore_index={ignored}, got {first}", IndexError)
        self.labels = labels.reshape(n, h, w)
        self.parameters: dict[str, Any] = {"ignore_index": ignored}

    def weighted(self, weight: Any, reduction: Any) -> Array | None:
        """The classes' weights, checked; and the reduction becomes a parameter."""
        self.parameters["reduction"] = self.check.choice("reduction", reduction, REDUCTIONS)
        if weight is None:
            return None
        weight = self.check.array("weight", weight, "K", self.scores.dtype)
        self.check.shape("weight", weight, self.scores.shape[1:2])
        self.check.finite("weight", weight)
        return weight

    def case(self, *more: Any, gradient: bool, flops: int, algorithm: str) -> Case:
        """The call in normal form."""
        result = Output(self.scores.shape, self.scores.dtype, format_of(self.scores), self.shape)
        return Case(
            arguments=(self.scores, self.labels, *more),
            outputs=(result if gradient else Output((), self.scores.dtype),),
            parameters=self.parameters,
            maps=(0,),
            flops=flops * self.scores.size,
            algorithm=algorithm,
        )


@operator(
    reference=reference.nll_loss_input,
    variants=[
        Variant("direct", cpu.nll_loss_input),
        Variant("cuda", cuda.nll_loss_input, device="cuda", refuses=cuda.refuses),
    ],
)
def nll_loss_input(
    log_probabilities: Array,
    labels: Array,
    *,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    algorithm: str = "auto",
) -> Case:
    """d[n,k,i,j] = -weight[k] [k = label[n,i,j]] / M; 0 at ignored pixels. M = 1 for reduction "sum".

    The gradient of `nll_loss` with respect to the log-probabilities; M is the sum of the pixels' weights. Arguments
    and errors as in `nll_loss`. Returns the shape of `log_probabilities` in its format.

    >>> import numpy as np
    >>> from upconv.kernels import nll_loss_input
    >>> nll_loss_input(np.log([[0.2, 0.8], [0.6, 0.4]]), np.array([1, 0]))
    array([[ 0. , -0.5],
           [-0.5,  0. ]])
    """
    checked = _Labelled("nll_loss_input", "log_probabilities", log_probabilities, labels, ignore_index)
    return checked.case(checked.weighted(weight, reduction), gradient=True, flops=0, algorithm=algorithm)


@operator(
    reference=reference.nll_loss,
    variants=[Variant("direct", cpu.nll_loss), Variant("cuda", cuda.nll_loss, device="cuda", refuses=cuda.refuses)],
    gradients={"log_probabilities": nll_loss_input},
)
def nll_loss(
    log_probabilities: Array,
    labels: Array,
    *,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    algorithm: str = "auto",
) -> Case:
    """L = sum over pixels (n,i,j) not ignored of -weight[l] log_probabilities[n,l,i,j], l = label[n,i,j].

    The negative log-likelihood, as `torch.nn.functional.nll_loss`: `cross_entropy` is this of `log_softmax`.

    log_probabilities: (N, K), (N, K, H, W) or (N, K, ...). The other arguments, the result and the errors are as in
    `cross_entropy`.

    >>> import numpy as np
    >>> from upconv.kernels import nll_loss
    >>> nll_loss(np.log([[0.2, 0.8], [0.6, 0.4]]), np.array([1, 0])).round(4)
    np.float64(0.367)
    """
    checked = _Labelled("nll_loss", "log_probabilities", log_probabilities, labels, ignore_index)
    return checked.case(checked.weighted(weight, reduction), gradient=False, flops=0, algorithm=algorithm)


@operator(
    reference=reference.cross_entropy_input,
    variants=[
        Variant("direct", cpu.cross_entropy_input),
        Variant("cuda", cuda.cross_entropy_input, device="cuda", refuses=cuda.refuses),
    ],
)
def cross_entropy_input(
    logits: Array,
    labels: Array,
    *,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    algorithm: str = "auto",
) -> Case:
    """dz[n,k,i,j] = weight[l] (softmax(z)[n,k,i,j] - [k = l]) / M, l = label[n,i,j]; 0 at ignored pixels.

    The gradient of `cross_entropy` with respect to the logits z; M is the sum of the weights of the pixels' classes, 1
    for reduction "sum". Where no pixel counts it is 0, although the mean is NaN; where the weights sum to 0 the pixels
    that count have NaN or infinities, as in PyTorch. Arguments and errors as in `cross_entropy`.

    Returns the shape of `logits` in its format.

    >>> import numpy as np
    >>> from upconv.kernels import cross_entropy_input
    >>> cross_entropy_input(np.zeros((2, 2)), np.array([0, 1]))
    array([[-0.25,  0.25],
           [ 0.25, -0.25]])
    """
    checked = _Labelled("cross_entropy_input", "logits", logits, labels, ignore_index)
    return checked.case(checked.weighted(weight, reduction), gradient=True, flops=5, algorithm=algorithm)


@operator(
    reference=reference.cross_entropy,
    variants=[
        Variant("direct", cpu.cross_entropy),
        Variant("cuda", cuda.cross_entropy, device="cuda", refuses=cuda.refuses),
    ],
    gradients={"logits": cross_entropy_input},
)
def cross_entropy(
    logits: Array,
    labels: Array,
    *,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    algorithm: str = "auto",
) -> Case:
    """L = sum over pixels (n,i,j) not ignored of -weight[l] log softmax(z)[n,l,i,j], l = label[n,i,j].

    Per-pixel softmax and cross-entropy in one, as `torch.nn.functional.cross_entropy`. The sum is float64.

    logits: z, (N, K), (N, K, H, W) or (N, K, ...), float32 or float64.
    labels: (N,), (N, H, W) or (N, ...), any integer dtype, 0..K-1 or ignore_index.
    weight: (K,), of the logits' dtype, finite, what a pixel of each class counts; None for 1. Negative ones are taken
    as they are, as in PyTorch.
    ignore_index: the label of void pixels (255 in many data sets), which neither cost nor count, whatever they hold.
    reduction: "mean", the sum over that of the weights (NaN where all pixels are void, as in PyTorch), or "sum" (0).

    Returns a 0-d array of the logits' dtype.

    Raises ValueError, TypeError, or IndexError for a label that is no class.

    Source: Long, Shelhamer & Darrell, "Fully convolutional networks for semantic segmentation" (2015), section 3.4.

    >>> import numpy as np
    >>> from upconv.kernels import cross_entropy
    >>> cross_entropy(np.zeros((1, 2, 1, 1)), np.array([[[1]]])).round(4)
    np.float64(0.6931)
    """
    checked = _Labelled("cross_entropy", "logits", logits, labels, ignore_index)
    return checked.case(checked.weighted(weight, reduction), gradient=False, flops=4, algorithm=algorithm)


def _overlapping(
    name: str, logits: Any, labels: Any, ignored: Any, smooth: Any, squared: Any, gradient: bool, algorithm: str
) -> Case:
    checked = _Labelled(name, "logits", logits, labels, ignored)
    checked.parameters |= {
        "smooth": checked.check.real("smooth", smooth, 0),
        "squared": checked.check.flag("squared", squared),
    }
    return checked.case(gradient=gradient, flops=12 if gradient else 6, algorithm=algorithm)


@operator(
    reference=reference.dice_loss_input,
    variants=[
        Variant("direct", dice.dice_loss_input),
        Variant("cuda", cuda_dice.dice_loss_input, device="cuda", refuses=cuda_dice.refuses),
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
        Variant("direct", dice.dice_loss),
        Variant("cuda", cuda_dice.dice_loss, device="cuda", refuses=cuda_dice.refuses),
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
