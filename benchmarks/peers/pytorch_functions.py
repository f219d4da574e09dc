"""Every operator in PyTorch: functions of tensors with the operators' own arguments. Importing this needs torch."""

from math import ceil, inf, prod

import torch
import torch.nn.functional as F


def two(value):
    """A pair from a number or a pair."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def sides(padding):
    """((top, bottom), (left, right)), and the pair that PyTorch takes for it, None where there is none."""
    rows, columns = map(two, two(padding))
    return (rows, columns), (rows[0], columns[0]) if rows[0] == rows[1] and columns[0] == columns[1] else None


def padded(x, padding, value=0.0):
    rows, columns = padding
    return F.pad(x, (*columns, *rows), value=value)


def activated(y, activation):
    return F.relu(y) if activation == "relu" else y


# Convolution


def same(size, kernel, stride, dilation):
    """ONNX SAME_UPPER: what F.conv2d(padding="same") does, which knows no stride."""
    total = [
        max((ceil(h / s) - 1) * s + d * (k - 1) + 1 - h, 0)
        for h, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    ]
    return tuple((each // 2, each - each // 2) for each in total)


def conv2d(x, weight, bias, *, stride, padding, dilation, groups, activation):
    stride, dilation = two(stride), two(dilation)
    if padding == "same" and stride != (1, 1):
        padding = same(x.shape[-2:], weight.shape[2:], stride, dilation)
    if not isinstance(padding, str):
        four, padding = sides(padding)
        if padding is None:
            x, padding = padded(x, four), 0
    return activated(F.conv2d(x, weight, bias, stride, padding, dilation, groups), activation)


def conv_transpose2d(x, weight, bias, *, stride, padding, output_padding, output_size, groups, dilation, activation):
    ((top, bottom), (left, right)), pair = sides(padding)
    if output_size is not None:  # nn.ConvTranspose2d makes an output_padding of it too
        window = zip(
            x.shape[-2:], weight.shape[2:], two(stride), two(dilation), (top + bottom, left + right), strict=True
        )
        least = [(h - 1) * s + d * (k - 1) + 1 - crop for h, k, s, d, crop in window]
        output_padding = tuple(size - each for size, each in zip(two(output_size), least, strict=True))
    if pair is None:
        y = F.conv_transpose2d(x, weight, bias, stride, 0, output_padding, groups, dilation)
        y = y[..., top : y.shape[-2] - bottom, left : y.shape[-1] - right]
    else:
        y = F.conv_transpose2d(x, weight, bias, stride, pair, output_padding, groups, dilation)
    return activated(y, activation)


def linear(x, weight, bias, *, activation):
    return activated(F.linear(x, weight, bias), activation)


def channel_sum(x):
    return x.sum((-2, -1)).sum(0) if x.ndim == 4 else x.sum((-2, -1))


def bias_relu_input(y, grad):
    dx = torch.ops.aten.threshold_backward(grad, y, 0)
    return dx, channel_sum(dx)


# Pooling


def met(y, x, padding, stride):
    """The windows that begin on the map or before it: where PyTorch gets a padded map, ceil_mode adds more."""
    counts = [ceil((h + before) / s) for h, (before, _), s in zip(x.shape[-2:], padding, stride, strict=True)]
    return y[..., : counts[0], : counts[1]]


def max_pool2d(x, kernel_size, *, stride, padding, dilation, ceil_mode, return_indices):
    four, pair = sides(padding)
    windows = zip(pair or (), two(kernel_size), two(dilation), strict=False)
    wide = any(k < 2 * pad <= d * (k - 1) + 1 for pad, k, d in windows)  # PyTorch's limit forgets the dilation
    if pair is not None and not wide:
        return F.max_pool2d(x, kernel_size, stride, pair, dilation, ceil_mode, return_indices)
    stride, whole = two(kernel_size if stride is None else stride), padded(x, four, -inf)
    results = F.max_pool2d(whole, kernel_size, stride, 0, dilation, ceil_mode, return_indices=True)
    y, indices = (met(each, x, four, stride) for each in results)
    rows, columns = indices // whole.shape[-1] - four[0][0], indices % whole.shape[-1] - four[1][0]
    return (y, rows * x.shape[-1] + columns) if return_indices else y


def max_pool2d_offsets(x, kernel_size, *, stride, padding, dilation, ceil_mode):
    y, indices = max_pool2d(
        x,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
        return_indices=True,
    )
    (sh, sw), (dh, dw) = two(kernel_size if stride is None else stride), two(dilation)
    ((top, _), (left, _)), _ = sides(padding)
    u = (indices // x.shape[-1] - torch.arange(y.shape[-2])[:, None] * sh + top) // dh
    v = (indices % x.shape[-1] - torch.arange(y.shape[-1]) * sw + left) // dw
    return y, u * two(kernel_size)[1] + v


def avg_pool2d(x, kernel_size, *, stride, padding, ceil_mode, count_include_pad, divisor_override):
    four, pair = sides(padding)
    if pair is not None:
        return F.avg_pool2d(x, kernel_size, stride, pair, ceil_mode, count_include_pad, divisor_override)
    stride = two(kernel_size if stride is None else stride)

    def pool(x, divisor):
        y = F.avg_pool2d(padded(x, four), kernel_size, stride, 0, ceil_mode, True, divisor)
        return met(y, x, four, stride)

    if count_include_pad or divisor_override is not None:
        return pool(x, divisor_override)
    return pool(x, 1) / pool(torch.ones_like(x), 1)


def max_unpool2d(x, indices, kernel_size, *, stride, padding, output_size):
    four, pair = sides(padding)
    if pair is not None:
        return F.max_unpool2d(x, indices, kernel_size, stride, pair, None if output_size is None else two(output_size))
    if output_size is None:
        window = zip(x.shape[-2:], two(kernel_size if stride is None else stride), four, two(kernel_size), strict=True)
        output_size = [(h - 1) * s - sum(pads) + k for h, s, pads, k in window]
    return torch.ops.aten.max_unpool2d(x, indices, two(output_size))


def unpool2d(x, kernel_size):
    rows, columns = two(kernel_size)
    y = x.new_zeros(*x.shape[:-2], x.shape[-2] * rows, x.shape[-1] * columns)
    y[..., ::rows, ::columns] = x
    return y


def interpolate(x, *, size, scale_factor, mode, align_corners):
    return F.interpolate(
        x, size, scale_factor, mode, None if mode == "nearest" and not align_corners else align_corners
    )


# Normalisation


def batch_norm(x, mean, variance, weight, bias, *, eps, activation):
    return activated(F.batch_norm(x, mean, variance, weight, bias, eps=eps), activation)


def batch_norm_training(x, weight, bias, *, eps, activation):
    mean, variance = x.new_zeros(x.shape[1]), x.new_zeros(x.shape[1])
    y = F.batch_norm(x, mean, variance, weight, bias, training=True, momentum=1.0, eps=eps)
    count = prod(x.shape) // x.shape[1]
    if not count:  # it leaves the running statistics alone
        mean, variance = mean / 0, variance / 0
    return activated(y, activation), mean, variance * (count - 1) / max(count, 1)


# Losses


def unspoilt(logits, labels, ignore_index):
    """Ours say that void pixels do not count, whatever they hold; in PyTorch's gradients their NaN stays NaN."""
    return torch.where((labels == ignore_index)[:, None], 0, logits)


def cross_entropy(logits, labels, *, weight, ignore_index, reduction):
    logits = unspoilt(logits, labels, ignore_index)
    return F.cross_entropy(logits, labels.long(), weight, ignore_index=ignore_index, reduction=reduction)


def nll_loss(log_probabilities, labels, *, weight, ignore_index, reduction):
    return F.nll_loss(log_probabilities, labels.long(), weight, ignore_index=ignore_index, reduction=reduction)


def dice_loss(logits, labels, *, ignore_index, smooth, squared):
    """PyTorch has none: the formula, with its softmax and its gradients."""
    p, counted = torch.softmax(unspoilt(logits, labels, ignore_index), 1), labels != ignore_index
    p, wanted = p.movedim(1, -1)[counted], F.one_hot(labels[counted].long(), logits.shape[1])
    below = (p * p if squared else p).sum(0) + wanted.sum(0) + smooth
    return 1 - ((2 * (p * wanted).sum(0) + smooth) / below).mean()


COUNTERPARTS = {
    "add": lambda x, y: x + y,
    "avg_pool2d": avg_pool2d,
    "batch_norm": batch_norm,
    "batch_norm_training": batch_norm_training,
    "bias_relu_input": bias_relu_input,
    "binary_cross_entropy_with_logits": lambda x, target, *, weight, pos_weight, reduction: (
        F.binary_cross_entropy_with_logits(x, target, weight, reduction=reduction, pos_weight=pos_weight)
    ),
    "channel_sum": channel_sum,
    "concatenate": lambda xs: torch.cat(xs, 1),
    "conv2d": conv2d,
    "conv_transpose2d": conv_transpose2d,
    "cross_entropy": cross_entropy,
    "dice_loss": dice_loss,
    "global_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 1),
    "global_max_pool2d": lambda x, *, return_indices: F.adaptive_max_pool2d(x, 1, return_indices),
    "interpolate": interpolate,
    "l1_loss": lambda x, target, *, reduction: F.l1_loss(x, target, reduction=reduction),
    "leaky_relu": lambda x, *, negative_slope: F.leaky_relu(x, negative_slope),
    "linear": linear,
    "log_softmax": lambda x: torch.log_softmax(x, 1),
    "max_pool2d": max_pool2d,
    "max_pool2d_offsets": max_pool2d_offsets,
    "max_unpool2d": max_unpool2d,
    "mse_loss": lambda x, target, *, reduction: F.mse_loss(x, target, reduction=reduction),
    "nll_loss": nll_loss,
    "relu": lambda x: F.relu(x),
    "sigmoid": lambda x: torch.sigmoid(x),
    "softmax": lambda x: torch.softmax(x, 1),
    "tanh": lambda x: torch.tanh(x),
    "unpool2d": unpool2d,
}
