"""What the recipes share: options, bars while they train, scores, tables and pictures."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from upconv import nn
from upconv._extras import require
from upconv.nn.data import VOID
from upconv.nn.files import write
from upconv.nn.preview import UNKNOWN, as_png, blank, displayed
from upconv.nn.progress import Progress

Array = np.ndarray


def at_least(least: int) -> Callable[[str], int]:
    """A type for argparse: an integer that is not smaller."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"it is {text!r}; an integer of {least} or more is needed")
        return int(text)

    return number


def options(name: str, text: str, arguments: Sequence[str] | None, **counts: int) -> argparse.Namespace:
    """What the command line says: --output, --seed, --quick, and a number for each of `counts`, which are defaults."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path("runs") / name
    parser.add_argument("--output", type=Path, default=folder, metavar="DIR", help=f"for the figure ({folder})")
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="the same gives the same results (0)")
    parser.add_argument("--quick", action="store_true", help="seconds to see that all works; its figures mean nothing")
    for count, default in counts.items():
        parser.add_argument(
            f"--{count}", type=at_least(1), default=default, metavar="N", help=f"({default}; --quick: 1)"
        )
    given = parser.parse_args(arguments)
    if given.quick:
        vars(given).update(dict.fromkeys(counts, 1))
    return given


def train(model: nn.Module, data: nn.Data, output: Path | None = None, **settings: Any) -> Array:
    """`nn.fit` with a bar, or lines where there is no terminal; the counts of the test images (`nn.metrics.confusion`).

    Ctrl-C ends the recipe after the step at hand.
    """
    console = require("rich.console", extra="train").Console()
    with Progress(settings["steps"], console, data.watched_as) as progress:
        result = nn.fit(model, data, output, on_step=progress.show, **settings)
    if result.counts is None:  # interrupted
        raise SystemExit(130)
    return result.counts


def bar(steps: int, text: str) -> Iterable[int]:
    """0, 1, ... steps - 1 with a bar: for loops of one's own."""
    return require("rich.progress", extra="train").track(range(steps), text)


def mean_iou(predictions: Iterable[Array], truths: Iterable[Array], classes: int) -> float:
    """The mean over the classes of the IoU over all pixels of all images; void ones count nowhere."""
    counts = [nn.metrics.confusion(*pair, classes, void=VOID) for pair in zip(predictions, truths, strict=True)]
    return nn.metrics.mean(nn.metrics.iou(np.sum(counts, 0)))


def constant(data: nn.Data) -> list[Array]:
    """The most frequent class of the training images, everywhere in the test images: a trivial prediction."""
    pixels = np.sum([np.bincount(sample.labels.ravel(), minlength=VOID + 1) for sample in data.train], 0)
    return [np.full_like(sample.labels, pixels[:VOID].argmax()) for sample in data.test]


def spread(values: Sequence[float]) -> str:
    """The mean, and from where to where they go."""
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table in Markdown; fractions have three digits."""
    print()
    for row in (head, ["---"] + ["--:"] * (len(head) - 1), *rows):
        print("| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row) + " |")


def pictures(path: Path, rows: Sequence[dict[str, Array]]) -> None:
    """Write a PNG: for each of `rows` titles and what is below them, H x W x C images and H x W labels."""
    classes = ["#000000", *require("matplotlib", extra="train").colormaps["Set2"].colors]
    colours = require("matplotlib.colors", extra="train").ListedColormap(classes).with_extremes(over=UNKNOWN)
    figure = blank(2.2 * len(rows[0]), 2.3 * len(rows), "")
    for line, row in zip(figure.subplots(len(rows), len(rows[0]), squeeze=False), rows, strict=True):
        for ax, (title, picture) in zip(line, row.items(), strict=True):
            ax.set_axis_off()
            if picture.ndim == 3:
                ax.imshow(displayed(picture), cmap="gray", interpolation="nearest")
            else:
                ax.imshow(picture, cmap=colours, vmin=0, vmax=len(classes) - 1, interpolation="nearest")
            if row is rows[0]:
                ax.set_title(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, as_png(figure))
    print(f"\nThe figure is {path}")
