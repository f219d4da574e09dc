"""A prediction drawn over its image."""

from __future__ import annotations

import numpy as np

from upconv._extras import require

from .preview import class_colours, displayed, stretch
from .tensor import Array

TINT = 0.3  # of a class's colour, the rest is the image
FOUND = "#ffd400"  # the colour of class 1 where there are two
SAMPLE = 1024  # rows and columns, about, that tell the contrast of an image
STRIP = 256  # rows that are drawn at a time


def overlay(image: Array, labels: Array, classes: int) -> Array:
    """The image with every class but 0 tinted and its border drawn, H x W x 3 uint8.

    image: H x W x C, shown as in previews: stretched, of other than 1 or 3 channels the first. labels: H x W. Two
    classes: yellow; more: the colours of previews. Borders lie inside what they enclose, and are wider in large images.
    """
    height, width = labels.shape
    limits = stretch(image[:: height // SAMPLE + 1, :: width // SAMPLE + 1])
    to_rgb = require("matplotlib.colors", extra="train").to_rgb
    named = {1: FOUND} if classes == 2 else class_colours(classes)
    colours = np.array([to_rgb(named.get(k, "black")) for k in range(classes)])
    edges = _edges(labels, max(round(max(height, width) / 700), 1))
    result = np.empty((height, width, 3), np.uint8)
    for start in range(0, height, STRIP):
        rows = slice(start, start + STRIP)
        shown = displayed(image[rows], limits)
        shown = np.repeat(shown[:, :, None], 3, 2) if shown.ndim == 2 else shown
        share = np.where(edges[rows], 1, np.where(labels[rows] > 0, TINT, 0))[:, :, None]
        result[rows] = np.rint(255 * ((1 - share) * shown + share * colours[labels[rows]]))
    return result


def _edges(labels: Array, thickness: int) -> Array:
    """Where a pixel of any class but 0 has another class within `thickness` pixels, in its row or column."""
    edges = np.zeros(labels.shape, bool)
    for each, found in ((labels, edges), (labels.T, edges.T)):
        for apart in range(1, thickness + 1):
            differ = each[apart:] != each[:-apart]
            found[apart:] |= differ
            found[:-apart] |= differ
    return edges & (labels > 0)
