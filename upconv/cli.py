"""The `upconv` command: train a network on labelled images, predict masks with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

from upconv import __version__, configuration
from upconv._extras import require
from upconv.errors import InputError
from upconv.settings import Network, Rule, Settings, Source

if TYPE_CHECKING:
    from upconv.nn import UNet
    from upconv.nn.data import Data
    from upconv.nn.training import Result

SHOWN = 50  # problems of a folder that are printed

TRAIN = """\
Train a U-Net to label every pixel of an image.

Without FOLDER it learns the embedded example, nuclei under a fluorescence microscope: on three quadrants of a 512 x 512
image, tested on the fourth beside the best that one intensity threshold can do there.

FOLDER/images holds PNG, TIFF or JPEG files, grey or colour; FOLDER/masks a PNG or TIFF of the same name and size for
each. The values of a mask are class indices 0, 1, 2, ...; 255 is void and counts nowhere. If all masks together hold 0
and 255 and nothing else, 255 is class 1. Some of the images are held out for the test (--validation)."""

TRAIN_EXAMPLES = """\
examples:
  upconv train
  upconv train --quadrant 0 --output runs/quadrant0
  upconv train my_images --steps 1000 --width 32 --crop 256
  upconv train my_images --optimizer sgd --lr 0.01 --elastic 10 --class-weights balanced --early-stopping 5
  upconv train my_images --config settings.toml --seed 1
  upconv train --resume runs/my_images
  upconv train --steps 3 --width 2                    a quick try

Written to the output folder: model.safetensors (the last weights, with --early-stopping the best), best.safetensors,
checkpoint.safetensors, config.toml (all settings: --config takes it), metrics.csv (a row a step), evaluation.csv (a row
a class), progress.png, preview.png. Files of an earlier training there are replaced. Ctrl-C ends after the step at
hand; then, or after a crash, --resume DIR goes on from the last checkpoint, to the very result that an uninterrupted
training gives. A TOML file has lines like  lr = 0.001  with the names of the options, and _ for -."""

PREDICT = """\
Label every pixel of an image of any size with a model of `upconv train`.

The mask is an 8-bit PNG: 0 and 255 for two classes, class indices for more."""

PREDICT_EXAMPLES = """\
examples:
  upconv predict runs/nuclei/model.safetensors runs/nuclei/test_image.png
  upconv predict model.safetensors cells.tif --output mask.png --probability probability.png"""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line on stderr."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and exit with 2."""
        self.exit(2, f"upconv: {message} (help: {self.prog} --help)\n")


def parser() -> Parser:
    """The command line of upconv."""
    top = Parser(prog="upconv", description="Dense prediction on kernels written in Python: train, predict.")
    top.add_argument("--version", action="version", version=f"upconv {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="train | predict")
    raw = argparse.RawDescriptionHelpFormatter

    train = commands.add_parser(
        "train", help="train a network", description=TRAIN, epilog=TRAIN_EXAMPLES, formatter_class=raw
    )
    train.add_argument("folder", nargs="?", help="labelled images (default: the embedded nuclei)")
    train.add_argument("--output", type=Path, metavar="DIR", help="the results (default: runs/nuclei, runs/FOLDER)")
    train.add_argument("--config", type=Path, metavar="TOML", help="settings from a file; options here come first")
    train.add_argument("--resume", type=Path, metavar="DIR", help="go on with the training in this folder")
    train.add_argument("--threads", type=int, metavar="N", help="threads to compute with (default: all cores)")
    for title, group in (("images", Source), ("network", Network), ("training", Settings)):
        _add_settings(train.add_argument_group(title), group)

    predict = commands.add_parser(
        "predict", help="predict a mask", description=PREDICT, epilog=PREDICT_EXAMPLES, formatter_class=raw
    )
    predict.add_argument("model", type=Path, help="a model.safetensors")
    predict.add_argument("image", type=Path, help="a PNG, TIFF or JPEG with as many channels as in training")
    predict.add_argument(
        "--output", type=Path, metavar="PNG", help="the mask (default: IMAGE_mask.png beside the image)"
    )
    predict.add_argument(
        "--probability",
        type=Path,
        metavar="PNG",
        help="write the probability as well, 0..255: of class"
        " 1 if there are two classes, else of the class that was chosen",
    )
    predict.add_argument("--threads", type=int, metavar="N", help="threads to compute with (default: all cores)")
    return top


def _add_settings(group: Any, settings: type) -> None:
    """An option for every field. They have no defaults of their own: so what was given is told from what was not."""
    for each in fields(settings):
        if each.name == "folder":
            continue  # it goes without a name
        rule: Rule = each.metadata["rule"]
        name, text = f"--{each.name.replace('_', '-')}", each.metadata["help"]
        if each.default is not None:
            text += f" ({' '.join(map(str, each.default)) if isinstance(each.default, tuple) else each.default})"
        if rule.kind is bool:
            group.add_argument(name, action=argparse.BooleanOptionalAction, help=text)
        elif rule.kind is str:
            group.add_argument(name, metavar="NAME", help=f"{text}; {rule.allowed}")
        else:
            several: dict[str, Any] = {} if rule.count == 1 else {"nargs": rule.count or "+"}
            kind = _or_word(rule) if rule.words else rule.kind
            group.add_argument(name, type=kind, metavar="N" if rule.kind is int else "X", help=text, **several)


def _or_word(rule: Rule) -> Callable[[str], Any]:
    return lambda text: text if text in rule.words else rule.kind(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 2 for what the user can mend, 130 after Ctrl-C."""
    arguments = parser().parse_args(argv)
    try:
        from upconv.nn.trainer import TrainingError

        try:
            return (train if arguments.command == "train" else predict)(arguments)
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
    from upconv.nn import data, folder

    chosen = {name: value for name, value in asdict(source).items() if value is not None}
    if source.folder is None:
        return data.nuclei(**chosen)
    return folder.read_folder(**chosen, seed=settings.seed)


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
    from upconv.nn.inference import predict_file

    _set_threads(arguments)
    start = perf_counter()
    output = arguments.output or arguments.image.with_name(f"{arguments.image.stem}_mask.png")
    labels = predict_file(arguments.model, arguments.image, output, arguments.probability)
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
