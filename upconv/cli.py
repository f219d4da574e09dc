"""The `upconv` command: train a network on labelled images, predict masks with it, take it elsewhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from upconv import __version__, configuration, convert
from upconv._extras import require
from upconv.errors import InputError
from upconv.options import parser
from upconv.settings import Network, Settings, Source

if TYPE_CHECKING:
    from upconv.nn import UNet
    from upconv.nn.data import Data
    from upconv.nn.training import Result

SHOWN = 50  # problems of a folder that are printed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 2 for what the user can mend, 130 after Ctrl-C."""
    arguments = parser().parse_args(argv)
    try:
        from upconv.nn.trainer import TrainingError

        try:
            return COMMANDS[arguments.command](arguments)
        except InputError as error:
            problems: Sequence[str] = error.problems
        except (TrainingError, ImportError, OSError) as error:
            problems = [str(error)]
        except MemoryError:
            problems = ["there is not enough memory for this; try a smaller batch, crop or width"]
    except KeyboardInterrupt:
        print("upconv: interrupted", file=sys.stderr)
        return 130
    for problem in problems[:SHOWN]:
        print(f"upconv: {problem}", file=sys.stderr)
    if len(problems) > SHOWN:
        print(f"upconv: and {len(problems) - SHOWN} more", file=sys.stderr)
    return 2


def train(arguments: argparse.Namespace) -> int:
    """`upconv train`."""
    from upconv.nn import training
    from upconv.nn.progress import Progress

    source, settings, network = _resolved(arguments)
    _set_threads(arguments)
    dataset = _data(source, settings)
    output = arguments.resume or arguments.output or Path("runs") / dataset.title
    model = training.unet(dataset, network, settings.seed)

    console = require("rich.console", extra="train").Console()
    _announce(console, dataset, settings, network, model)
    if arguments.resume:
        known = (arguments.resume / "checkpoint.safetensors").exists()
        told = "from its last checkpoint" if known else "from the beginning: there is no checkpoint yet"
        _say(console, "resume", f"{arguments.resume}, {told}")
    folder = source.folder and str(Path(source.folder).absolute())  # so that --resume finds it from elsewhere
    with Progress(settings.steps, console, dataset.watched_as) as progress:
        result = training.fit(
            model,
            dataset,
            output,
            settings=settings,
            resume=arguments.resume is not None,
            on_step=progress.show,
            config={**asdict(source), "folder": folder, **asdict(network)},
        )
    if result.interrupted:
        print(f"upconv: interrupted after {result.steps} of {settings.steps} steps; {_saved(result)}", file=sys.stderr)
        return 130
    _report(console, dataset, result)
    if settings.early_stopping and not dataset.validation:
        _say(console, "note", "these very images chose the weights: expect less of others; --test holds some out")
    return 0


def _resolved(arguments: argparse.Namespace) -> tuple[Source, Settings, Network]:
    """What was asked for: of the training that is resumed, or of options, a file and defaults, in this order."""
    given = {name: getattr(arguments, name) for name in configuration.NAMES}
    options = {name: value for name, value in given.items() if value is not None}
    if arguments.resume is None:
        values = configuration.read(arguments.config) if arguments.config else {}
        return configuration.resolve({**values, **options})
    others = [*options, *(name for name in ("config", "output") if getattr(arguments, name))]
    if others:
        names = ", ".join(name.replace("_", "-") for name in others)
        raise InputError(f"--resume goes on with the settings of the training; leave out {names}")
    if not (file := arguments.resume / "config.toml").is_file():
        raise InputError(f"there is no training to resume in {arguments.resume}: {file.name} is missing")
    return configuration.resolve(configuration.read(file))


def _data(source: Source, settings: Settings) -> Data:
    from upconv.nn import data, folder, scenery

    chosen = {name: value for name, value in asdict(source).items() if value is not None and name != "data"}
    if source.folder is not None:
        return folder.read_folder(**chosen, seed=settings.seed)
    return scenery.scenes(**chosen, seed=settings.seed) if source.data == "scenes" else data.nuclei(**chosen)


def _saved(result: Result) -> str:
    """What is left of a training that was interrupted, and how to go on."""
    if result.model_file is None:
        return "nothing was saved"
    return f"the model so far is {result.model_file}; to go on: upconv train --resume {result.model_file.parent}"


def _announce(console: Any, dataset: Data, settings: Settings, network: Network, model: UNet) -> None:
    """What is about to happen."""
    from upconv import kernels

    threads, s = kernels.get_num_threads(), settings
    parameters = sum(parameter.size for parameter in model.parameters())
    each = f"{s.batch} crops" if s.accumulate == 1 else f"{s.accumulate} x {s.batch} crops"
    lines = {
        "upconv": f"{__version__}, CPU, {threads} thread" + ("s" if threads > 1 else ""),
        "data": f"{dataset.description}; {dataset.classes} classes",
        "network": f"U-Net of width {network.width} and depth {network.depth}, {parameters:,} parameters",
        "training": f"{s.steps} steps of {each}, {s.crop} x {s.crop} pixels; {s.optimizer}, lr {s.lr:g}, seed {s.seed}",
    }
    for name, text in lines.items():
        _say(console, name, text)


def _say(console: Any, name: str, text: str) -> None:
    console.print(f"{name:10}{text}", soft_wrap=True, markup=False, highlight=False)


def _report(console: Any, dataset: Data, result: Result) -> None:
    """The table of scores, the files, and what to do next."""
    from upconv.nn import metrics

    assert result.counts is not None
    dice, iou = metrics.dice(result.counts), metrics.iou(result.counts)
    what = "the foreground" if dataset.classes == 2 else "every class"
    table = require("rich.table", extra="train").Table(title=f"test: {what}", title_justify="left")
    table.add_column("")
    table.add_column("Dice", justify="right")
    table.add_column("IoU", justify="right")
    if dataset.classes > 2:
        for k in range(dataset.classes):
            absent = dice[k] != dice[k]  # NaN: neither in the truth nor predicted
            table.add_row(f"class {k}", "absent" if absent else f"{dice[k]:.4f}", "" if absent else f"{iou[k]:.4f}")
        table.add_section()
    name = "U-Net" if dataset.classes == 2 else "mean"
    table.add_row(name, f"{metrics.headline(dice):.4f}", f"{metrics.headline(iou):.4f}", style="bold")
    if best := result.baseline:
        sign = ">=" if best.above else "<="
        table.add_row(f"best threshold (intensity {sign} {best.value:g})", f"{best.dice:.4f}", f"{best.iou:.4f}")
    console.print(table)
    for text in (
        f"done in  {result.seconds:.1f} s: {result.model_file}, metrics.csv, progress.png, preview.png",
        f"next:    upconv predict {result.model_file} {result.image}",
    ):
        console.print(text, soft_wrap=True, markup=False, highlight=False)


def predict(arguments: argparse.Namespace) -> int:
    """`upconv predict`."""
    from upconv.nn.inference import TILE
    from upconv.nn.prediction import predict_file
    from upconv.nn.progress import Tiles

    _set_threads(arguments)
    tile = TILE if arguments.tile is None else arguments.tile
    if tile < 1:
        raise InputError(f"tile is {tile}; it must be 1 or more")
    start = perf_counter()
    output = arguments.output or arguments.image.with_name(f"{arguments.image.stem}_mask.png")
    files = output, arguments.probability, arguments.overlay
    with Tiles(require("rich.console", extra="train").Console(stderr=True)) as progress:
        labels = predict_file(arguments.model, arguments.image, *files, tile=tile, on_tile=progress.show)
    height, width = labels.shape
    print(f"{output}: {height} x {width} pixels, {(labels > 0).mean():.1%} not class 0; {perf_counter() - start:.1f} s")
    return 0


def _set_threads(arguments: argparse.Namespace) -> None:
    from upconv import kernels

    if arguments.threads is not None:
        try:
            kernels.set_num_threads(arguments.threads)
        except ValueError as error:
            raise InputError(f"threads is {arguments.threads}; it must be 1 to 1024") from error


COMMANDS = {"train": train, "predict": predict, "import": convert.import_weights, "export": convert.export}
