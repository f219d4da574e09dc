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
from upconv.scoring import evaluate, say, show
from upconv.settings import Network, Settings, Source

if TYPE_CHECKING:
    from upconv.nn import Module
    from upconv.nn.data import Data
    from upconv.nn.training import Result

SHOWN = 50  # problems of a folder that are printed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 2 for what the user can mend, 130 after Ctrl-C."""
    arguments = parser().parse_args(argv)
    try:
        from upconv.nn.trainer import TrainingError

        try:
            _set_threads(getattr(arguments, "threads", None))
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
    from upconv.nn import configured, training
    from upconv.nn.progress import Progress

    source, settings, network = _resolved(arguments)
    dataset = configured.images(source, settings.seed)
    output = arguments.resume or arguments.output or Path("runs") / dataset.title
    model = configured.placed(configured.build(dataset, network, settings.seed), settings.device)

    console = require("rich.console", extra="train").Console()
    _announce(console, dataset, settings, model)
    if arguments.resume:
        known = (arguments.resume / "checkpoint.safetensors").exists()
        told = "from its last checkpoint" if known else "from the beginning: there is no checkpoint yet"
        say(console, "resume", f"{arguments.resume}, {told}")
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
    _report(console, result)
    if settings.early_stopping and not dataset.validation:
        say(console, "note", "these very images chose the weights: expect less of others; --test holds some out")
    return 0


def _resolved(arguments: argparse.Namespace) -> tuple[Source, Settings, Network]:
    """What was asked for: of the training that is resumed, or of options, a file and defaults, in this order.

    One that is resumed may go on on another device.
    """
    given = {name: getattr(arguments, name) for name in configuration.NAMES}
    options = {name: value for name, value in given.items() if value is not None}
    if arguments.resume is None:
        values = configuration.read(arguments.config) if arguments.config else {}
        return configuration.resolve({**values, **options})
    place = {"device": options.pop("device")} if "device" in options else {}
    others = [*options, *(name for name in ("config", "output") if getattr(arguments, name))]
    if others:
        names = ", ".join(name.replace("_", "-") for name in others)
        raise InputError(f"--resume goes on with the settings of the training; leave out {names}")
    if not (file := arguments.resume / "config.toml").is_file():
        raise InputError(f"there is no training to resume in {arguments.resume}: {file.name} is missing")
    return configuration.resolve({**configuration.read(file), **place})


def _saved(result: Result) -> str:
    """What is left of a training that was interrupted, and how to go on."""
    if result.model_file is None:
        return "nothing was saved"
    return f"the model so far is {result.model_file}; to go on: upconv train --resume {result.model_file.parent}"


def _announce(console: Any, dataset: Data, settings: Settings, model: Module) -> None:
    """What is about to happen."""
    from upconv import kernels
    from upconv.nn.device import described, home

    s = settings
    parameters = sum(parameter.size for parameter in model.parameters())
    each = f"{s.batch} crops" if s.accumulate == 1 else f"{s.accumulate} x {s.batch} crops"
    lines = {
        "upconv": f"{__version__}, {described(home(model), kernels.get_num_threads())}",
        "data": f"{dataset.description}; {dataset.classes} classes",
        "network": f"{type(model).__name__}({model.describe()}), {parameters:,} parameters",
        "training": f"{s.steps} steps of {each}, {s.crop} x {s.crop} pixels; {s.optimizer}, lr {s.lr:g}, seed {s.seed}",
    }
    for name, text in lines.items():
        say(console, name, text)


def _report(console: Any, result: Result) -> None:
    """The table of scores, the files, and what to do next."""
    assert result.counts is not None
    show(console, result.counts, type(result.model).__name__, result.baseline)
    for text in (
        f"done in  {result.seconds:.1f} s: {result.model_file}, metrics.csv, progress.png, preview.png",
        f"next:    upconv predict {result.model_file} {result.image or 'IMAGE'}",
    ):
        console.print(text, soft_wrap=True, markup=False, highlight=False)


def predict(arguments: argparse.Namespace) -> int:
    """`upconv predict`."""
    from upconv.nn.inference import TILE
    from upconv.nn.prediction import predict_file
    from upconv.nn.progress import Tiles

    tile = TILE if arguments.tile is None else arguments.tile
    if tile < 1:
        raise InputError(f"tile is {tile}; it must be 1 or more")
    start = perf_counter()
    output = arguments.output or arguments.image.with_name(f"{arguments.image.stem}_mask.png")
    files = output, arguments.probability, arguments.overlay
    with Tiles(require("rich.console", extra="train").Console(stderr=True)) as progress:
        options = {"tile": tile, "on_tile": progress.show, "device": arguments.device}
        labels = predict_file(arguments.model, arguments.image, *files, **options)
    height, width = labels.shape
    print(f"{output}: {height} x {width} pixels, {(labels > 0).mean():.1%} not class 0; {perf_counter() - start:.1f} s")
    return 0


def _set_threads(threads: int | None) -> None:
    from upconv import kernels

    if threads is not None:
        try:
            kernels.set_num_threads(threads)
        except ValueError as error:
            raise InputError(f"threads is {threads}; it must be 1 to 1024") from error


COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "import": convert.import_weights,
    "export": convert.export,
}
