"""One picture of what a network learnt: image, truth, probability and prediction side by side."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from upconv._extras import require

from .data import VOID
from .files import Pathlike, write

Array = npt.NDArray[Any]

HIT, FALSE, MISSED, UNKNOWN = "#ffffff", "#e8743b", "#3b8ee8", "#666666"


def preview(path: Pathlike, image: Array, truth: Array, probability: Array, *, title: str) -> None:
    """Write a PNG with four panels, atomically.

    image: H x W x C as in its file; truth: H x W labels, VOID where unknown; probability: K x H x W. With two classes
    the prediction is drawn against the truth (found, too much, missed); with more, classes have colours.
    """
    height = 0.9 + 3.3 * min(max(truth.shape[0] / truth.shape[1], 0.2), 3)  # inches: titles, then the panels
    figure = require("matplotlib.figure", extra="train").Figure(figsize=(14, height), layout="constrained")
    require("matplotlib.backends.backend_agg", extra="train").FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=14)
    axes = figure.subplots(1, 4)
    for ax in axes:
        ax.set_axis_off()
    prediction = probability.argmax(0)
    axes[0].imshow(displayed(image), cmap="gray")
    axes[0].set_title("image")
    certainty, name = (probability[1], "probability") if len(probability) == 2 else (probability.max(0), "certainty")
    drawn = axes[2].imshow(certainty, cmap="magma", vmin=0 if len(probability) == 2 else 1 / len(probability), vmax=1)
    axes[2].set_title(name)
    figure.colorbar(drawn, cax=axes[2].inset_axes((1.02, 0, 0.03, 1)))
    if len(probability) == 2:
        axes[1].imshow(_coloured(truth, {0: "#000000", 1: HIT, VOID: UNKNOWN}))
        states = np.where(truth == VOID, 4, 2 * truth.astype(int) + prediction)
        colours = {0: "#000000", 1: FALSE, 2: MISSED, 3: HIT, 4: UNKNOWN}
        axes[3].imshow(_coloured(states, colours))
        names = {3: "found", 1: "too much", 2: "missed"}
    else:
        palette = require("matplotlib", extra="train").colormaps["tab20"].colors
        colours = {k: palette[(2 * k + k // 10) % 20] for k in range(len(probability))} | {VOID: UNKNOWN}
        axes[1].imshow(_coloured(truth, colours))
        axes[3].imshow(_coloured(prediction, colours))
        present = sorted({*np.unique(truth).tolist(), *np.unique(prediction).tolist()})[:12]
        names = {k: "void" if k == VOID else f"class {k}" for k in present}
    axes[1].set_title("truth")
    axes[3].set_title("prediction" + (", errors coloured" if len(probability) == 2 else ""))
    patch = require("matplotlib.patches", extra="train").Patch
    keys = [patch(facecolor=colours[k], edgecolor="#444444", label=name) for k, name in names.items()]
    style = {"ncols": 4, "frameon": False, "fontsize": 9, "handlelength": 1.2, "columnspacing": 1.2}
    axes[3].legend(handles=keys, loc="upper center", bbox_to_anchor=(0.5, -0.01), **style)
    content = BytesIO()
    figure.savefig(content, dpi=100, format="png")
    write(path, content.getvalue())


def displayed(image: Array) -> Array:
    """H x W or H x W x 3 in 0..1, stretched from the 0.5th to the 99.5th percentile; not 1 or 3 channels: the first."""
    shown = image if image.shape[2] == 3 else image[:, :, 0]
    low, high = np.percentile(shown, (0.5, 99.5))
    return np.clip((shown - low) / ((high - low) or 1.0), 0, 1)


def _coloured(labels: Array, colours: dict[int, Any]) -> Array:
    to_rgb = require("matplotlib.colors", extra="train").to_rgb
    picture = np.zeros((*labels.shape, 3))
    for label, colour in colours.items():
        picture[labels == label] = to_rgb(colour)
    return picture
