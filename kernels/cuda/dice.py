"""The soft Dice loss of labelled pixels, and its gradient, on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layout import Array
from ..namespace import namespace
from .loss import typed
from .matrix import MOST, finish, partial
from .pixels import pixels

SOURCE = "dice.cu"
CLASSES = 192  # at most: a thread sums six of them in registers, and they share 48 KiB in the end
EACH = 128  # pixels whose sums a block writes, at least: those of eight are nearly as much as their logits


def refuses(logits: Array, *more: Any, **parameters: Any) -> str | None:
    """Why the kernels cannot serve."""
    classes = logits.shape[1]
    return f"it takes at most {CLASSES} channels, and there are {classes}" if classes > CLASSES else None


def dice_loss(
    outputs: list[Array], logits: Array, labels: Array, *, ignore_index: int, smooth: float, squared: bool
) -> None:
    """dice_loss: each number is read once."""
    if not logits.size:
        outputs[0].fill(0 if logits.shape[1] and smooth else np.nan)
        return
    overlap, _, flags = _overlaps(logits, labels, ignore_index, smooth, squared)
    finish(SOURCE, "dice_loss", overlap, logits.shape[1], 1, 1, outputs[0], **flags)


def dice_loss_input(
    outputs: list[Array], logits: Array, labels: Array, *, ignore_index: int, smooth: float, squared: bool
) -> None:
    """dice_loss_input: logits and labels are read twice."""
    _, constants, flags = _overlaps(logits, labels, ignore_index, smooth, squared)
    labels, label = typed(labels)
    of = pixels(logits, outputs[0])
    given = labels, np.int64(ignore_index), constants
    own = {"LABEL": label, "SQUARED": flags["SQUARED"]}
    of.start(SOURCE, "dice_loss_input", [logits, outputs[0]], *given, blocks=of.blocks, **own)


def _overlaps(
    logits: Array, labels: Array, ignore_index: int, smooth: float, squared: bool
) -> tuple[Array, Array, dict[str, Any]]:
    """For each class the overlap, the constants of the gradient, and what the kernels were compiled for."""
    of, xp, classes = pixels(logits), namespace(logits), logits.shape[1]
    labels, label = typed(labels)
    blocks = min(MOST, -(-of.rows // EACH))
    flags: dict[str, Any] = {"LABEL": label, "SQUARED": int(squared)}
    room, overlap = partial(logits, blocks, 3, classes), xp.empty(classes, "float64")
    constants = xp.empty(2 * classes, logits.dtype)
    given = labels, np.int64(ignore_index), room, np.int64(of.blocks)
    of.start(SOURCE, "dice_sums", [logits], *given, blocks=blocks, **flags)
    flags |= of.defines
    finish(SOURCE, "overlaps", room, blocks, classes, classes, np.float64(smooth), overlap, constants, **flags)
    return overlap, constants, flags
