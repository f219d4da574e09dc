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
    figure = blank(14, height, title)
    axes = figure.subplots(1, 4)
    prediction = probability.argmax(0)
    panels(axes[[0, 1, 3]], image, truth, prediction, len(probability))
    axes[2].set_axis_off()
    certainty, name = (probability[1], "probability") if len(probability) == 2 else (probability.max(0), "certainty")
    drawn = axes[2].imshow(certainty, cmap="magma", vmin=0 if len(probability) == 2 else 1 / len(probability), vmax=1)
    axes[2].set_title(name)
    figure.colorbar(drawn, cax=axes[2].inset_axes((1.02, 0, 0.03, 1)))
    legend(axes[3], truth, prediction, len(probability))
    write(path, as_png(figure))


def blank(width: float, height: float, title: str) -> Any:
    """A figure of so many inches, apart from pyplot and its state."""
    figure = require("matplotlib.figure", extra="train").Figure(figsize=(width, height), layout="constrained")
    require("matplotlib.backends.backend_agg", extra="train").FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=14)
    return figure


def panels(axes: Any, image: Array, truth: Array, prediction: Array, classes: int) -> None:
    """Image, truth and prediction on three axes."""
    for ax in axes:
        ax.set_axis_off()
    axes[0].imshow(displayed(image), cmap="gray")
    axes[0].set_title("image")
    colours = class_colours(classes)
    axes[1].imshow(_coloured(truth, {0: "#000000", 1: HIT, VOID: UNKNOWN} if classes == 2 else colours))
    axes[1].set_title("truth")
    states = np.where(truth == VOID, 4, 2 * truth.astype(int) + prediction) if classes == 2 else prediction
    axes[2].imshow(_coloured(states, colours))
    axes[2].set_title("prediction" + (", errors coloured" if classes == 2 else ""))


def legend(ax: Any, truth: Array, prediction: Array, classes: int) -> None:
    """What the colours of a prediction mean, below its axes."""
    if classes == 2:
        names = {3: "found", 1: "too much", 2: "missed"}
    else:
        present = sorted({*np.unique(truth).tolist(), *np.unique(prediction).tolist()})[:12]
        names = {k: "void" if k == VOID else f"class {k}" for k in present}
    colours, patch = class_colours(classes), require("matplotlib.patches", extra="train").Patch
    keys = [patch(facecolor=colours[k], edgecolor="#444444", label=name) for k, name in names.items()]
    style = {"ncols": 4, "frameon": False, "fontsize": 9, "handlelength": 1.2, "columnspacing": 1.2}
    ax.legend(handles=keys, loc="upper center", bbox_to_anchor=(0.5, -0.01), **style)


def as_png(figure: Any) -> bytes:
    """A figure as the content of a PNG file."""
    content = BytesIO()
    figure.savefig(content, dpi=100, format="png", bbox_inches="tight")  # legends below the axes and all
    return content.getvalue()


def class_colours(classes: int) -> dict[int, Any]:
    """Of the states of a prediction (two classes: 2 truth + prediction, 4 where unknown), or of each class."""
    if classes == 2:
        return {0: "#000000", 1: FALSE, 2: MISSED, 3: HIT, 4: UNKNOWN}
    palette = require("matplotlib", extra="train").colormaps["tab20"].colors
    return {k: palette[(2 * k + k // 10) % 20] for k in range(classes)} | {VOID: UNKNOWN}


def displayed(image: Array, limits: tuple[float, float] | None = None) -> Array:
    """H x W or H x W x 3 in 0..1, stretched from the 0.5th to the 99.5th percentile; not 1 or 3 channels: the first.

    limits: what is 0 and what is 1, for a part of an image.
    """
    shown = _shown(image)
    low, high = stretch(image) if limits is None else limits
    return np.clip((shown - low) / ((high - low) or 1.0), 0, 1)


def stretch(image: Array) -> tuple[float, float]:
    """The 0.5th and the 99.5th percentile of what is `displayed`."""
    low, high = np.percentile(_shown(image), (0.5, 99.5))
    return float(low), float(high)


def _shown(image: Array) -> Array:
    return image if image.shape[2] == 3 else image[:, :, 0]


def _coloured(labels: Array, colours: dict[int, Any]) -> Array:
    to_rgb = require("matplotlib.colors", extra="train").to_rgb
    picture = np.zeros((*labels.shape, 3))
    for label, colour in colours.items():
        picture[labels == label] = to_rgb(colour)
    return picture
