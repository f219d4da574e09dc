"""Cross-entropy and the negative log-likelihood of labelled pixels, and their gradients, on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout import Array
from ..namespace import namespace
from .matrix import MOST, finish, partial
from .pixels import Pixels, pixels, too_many
from .strides import dense

SOURCE = "loss.cu"
LABELS = {np.dtype(np.uint8): "u8", np.dtype(np.int32): "int", np.dtype(np.int64): "i64"}


def refuses(scores: Array, *more: Any, **parameters: Any) -> str | None:
    """Why the kernels cannot serve."""
    return too_many(scores)


def nll_loss(
    outputs: list[Array],
    log_probabilities: Array,
    labels: Array,
    weight: Array | None,
    *,
    ignore_index: int,
    reduction: str,
) -> None:
    """nll_loss."""
    _loss("nll_loss", outputs[0], log_probabilities, labels, weight, ignore_index, reduction)


def cross_entropy(
    outputs: list[Array], logits: Array, labels: Array, weight: Array | None, *, ignore_index: int, reduction: str
) -> None:
    """cross_entropy: each number is read once."""
    _loss("cross_entropy", outputs[0], logits, labels, weight, ignore_index, reduction)


def nll_loss_input(
    outputs: list[Array],
    log_probabilities: Array,
    labels: Array,
    weight: Array | None,
    *,
    ignore_index: int,
    reduction: str,
) -> None:
    """nll_loss_input: the labels are read twice for a mean."""
    of = pixels(outputs[0])
    _gradient("nll_loss_input", of, outputs, labels, weight, ignore_index, reduction)


def cross_entropy_input(
    outputs: list[Array], logits: Array, labels: Array, weight: Array | None, *, ignore_index: int, reduction: str
) -> None:
    """cross_entropy_input: the labels are read twice for a mean, all else once."""
    maps = [logits, outputs[0]]
    _gradient("cross_entropy_input", pixels(*maps), maps, labels, weight, ignore_index, reduction)


def typed(labels: Array) -> tuple[Array, str]:
    """The labels, side by side, and what C calls their type: int64 where a kernel knows none of their own."""
    if labels.dtype not in LABELS:
        labels = labels.astype("int64")
    return namespace(labels).ascontiguousarray(labels), LABELS[labels.dtype]


def _loss(
    name: str, loss: Array, scores: Array, labels: Array, weight: Array | None, ignore_index: int, reduction: str
) -> None:
    if not scores.size:
        loss.fill(np.nan if reduction == "mean" else 0)
        return
    of = pixels(scores)
    blocks, (labels, label) = min(of.blocks, MOST), typed(labels)
    room = partial(scores, blocks, 2, 1)
    tiles = [np.int64(of.blocks)] if name == "cross_entropy" else []
    given = labels, dense(weight), np.int64(ignore_index), room, *tiles
    of.start(SOURCE, name, [scores], *given, blocks=blocks, LABEL=label)
    finish(SOURCE, "finish", room, blocks, 1, 1, np.int32(reduction == "mean"), loss, **of.defines, LABEL=label)


def _gradient(
    name: str,
    of: Pixels,
    maps: list[Array],
    labels: Array,
    weight: Array | None,
    ignore_index: int,
    reduction: str,
) -> None:
    labels, label = typed(labels)
    given = labels, dense(weight), np.int64(ignore_index)
    share = _share(of, maps[-1], given, label) if reduction == "mean" else None
    of.start(SOURCE, name, maps, *given, share, blocks=of.blocks, LABEL=label)


def _share(of: Pixels, dx: Array, given: tuple[Any, ...], label: str) -> Array:
    """What a weight of 1 counts in the mean."""
    blocks = min(of.blocks, MOST)
    room, share = partial(dx, blocks, 2, 1), namespace(dx).empty(1, "float64")
    alone = pixels(dx)
    alone.start(SOURCE, "nll_loss", [None], *given, room, blocks=blocks, LABEL=label)
    finish(SOURCE, "share_of_one", room, blocks, 1, 1, share, **alone.defines, LABEL=label)
    return share
