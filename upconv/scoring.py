"""The command that scores a model on labelled images, and how scores are shown."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upconv import configuration
from upconv._extras import require
from upconv.errors import InputError

if TYPE_CHECKING:
    from upconv.nn import Sample
    from upconv.nn.metrics import Threshold
    from upconv.nn.tensor import Array


def evaluate(arguments: argparse.Namespace) -> int:
    """`upconv evaluate`."""
    from upconv.nn import configured, evaluation, io

    model_file, output = arguments.model, arguments.output
    if output is not None and not output.parent.is_dir():
        raise InputError(f"there is no folder {output.parent} to write {output.name} to")
    model = configured.placed(io.load_given(model_file), arguments.device)
    if "classes" not in (model.config or {}):
        raise InputError(f"{model_file} labels no pixels: it holds {type(model).__name__}")
    assert model.config is not None
    classes, told = model.config["classes"], f"{type(model).__name__}({model.describe()})"
    console = require("rich.console", extra="train").Console()
    say(console, "model", f"{model_file}: {told}")
    if arguments.folder is None:
        samples = _held_out(model_file, console)
    else:
        samples = _labelled(arguments.folder, classes, model_file, console)
    track = require("rich.progress", extra="train").track
    shown = track(samples, "scoring", console=console, transient=True, disable=not console.is_terminal)
    try:
        counts = evaluation.evaluate(model, shown, classes)
    except ValueError as error:
        raise InputError(f"{model_file} does not fit these images: {str(error).removeprefix('predict: ')}") from error
    show(console, counts, type(model).__name__, evaluation.baseline(samples, classes))
    if output is not None:
        evaluation.write_table(output, counts)
    return 0


def show(console: Any, counts: Array, name: str, baseline: Threshold | None) -> None:
    """A table of Dice and IoU, of each class if there are more than two."""
    from upconv.nn import metrics

    dice, iou = metrics.dice(counts), metrics.iou(counts)
    what = "the foreground" if len(counts) == 2 else "every class"
    table = require("rich.table", extra="train").Table(title=f"test: {what}", title_justify="left")
    table.add_column("")
    table.add_column("Dice", justify="right")
    table.add_column("IoU", justify="right")
    if len(counts) > 2:
        for k in range(len(counts)):
            absent = dice[k] != dice[k]  # NaN: neither in the truth nor predicted
            table.add_row(f"class {k}", "absent" if absent else f"{dice[k]:.4f}", "" if absent else f"{iou[k]:.4f}")
        table.add_section()
        name = "mean"
    table.add_row(name, f"{metrics.headline(dice):.4f}", f"{metrics.headline(iou):.4f}", style="bold")
    if baseline:
        sign = ">=" if baseline.above else "<="
        known = f"best threshold (intensity {sign} {baseline.value:g})"
        table.add_row(known, f"{baseline.dice:.4f}", f"{baseline.iou:.4f}")
    console.print(table)


def say(console: Any, name: str, text: str) -> None:
    """A line about something."""
    console.print(f"{name:10}{text}", soft_wrap=True, markup=False, highlight=False)


def _labelled(folder: Path, classes: int, model: Path, console: Any) -> Sequence[Sample]:
    """All images of a folder."""
    from upconv.nn.folder import read_samples
    from upconv.nn.record import CONFIGURATION

    samples = read_samples(folder, classes)
    say(console, "data", f"{folder}: {len(samples)} images, all of them")
    file = model.parent / CONFIGURATION
    if file.is_file() and configuration.read(file).get("folder") == str(folder.absolute()):
        say(
            console,
            "note",
            "the model was trained on most of these; without FOLDER those alone count that it has not seen",
        )
    return samples


def _held_out(model: Path, console: Any) -> Sequence[Sample]:
    """The test images of the training that left the model in its folder."""
    from upconv.nn import checkpoint, configured
    from upconv.nn.record import CHECKPOINT, CONFIGURATION

    file, known = model.parent / CONFIGURATION, model.parent / CHECKPOINT
    if not file.is_file():
        raise InputError(f"there is no {file} to tell which images were held out; name a FOLDER of labelled images")
    source, settings, _ = configuration.resolve(configuration.read(file))
    data = configured.images(source, settings.seed)
    if known.is_file() and not checkpoint.is_of(known, data):
        raise InputError(f"{data.title}: these are not the images of the training; name a FOLDER of labelled images")
    say(console, "data", f"{data.description}: scored on those for the test")
    return data.test
