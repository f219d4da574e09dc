"""Losses of scores for classes, given each pixel's class: rules and docstrings."""

from . import reference
from .case import Case
from .cpu import loss as cpu
from .cuda import loss as cuda
from .labelled import Labelled
from .layout import Array
from .op import Variant, operator


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
    checked = Labelled("nll_loss_input", "log_probabilities", log_probabilities, labels, ignore_index)
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
    checked = Labelled("nll_loss", "log_probabilities", log_probabilities, labels, ignore_index)
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
    checked = Labelled("cross_entropy_input", "logits", logits, labels, ignore_index)
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
    checked = Labelled("cross_entropy", "logits", logits, labels, ignore_index)
    return checked.case(checked.weighted(weight, reduction), gradient=False, flops=4, algorithm=algorithm)
