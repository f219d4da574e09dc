"""The `upconv` command: train a network on labelled images, predict masks with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

from upconv import __version__
from upconv._extras import require

if TYPE_CHECKING:
    from upconv.nn.data import Data
    from upconv.nn.training import Result, Settings

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
  upconv train --steps 3 --width 2                    a quick try

Written to the output folder: model.safetensors, metrics.csv (one row a step), preview.png. Ctrl-C saves the model so
far. Files of an earlier training there are replaced."""

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
    train.add_argument("folder", nargs="?", type=Path, help="labelled images (default: the embedded nuclei)")
    train.add_argument(
        "--output", type=Path, metavar="DIR", help="where results go (default: runs/nuclei, runs/FOLDER)"
    )
    train.add_argument("--steps", type=int, metavar="N", help="training steps (240)")
    train.add_argument("--batch", type=int, metavar="N", help="crops a step (4)")
    train.add_argument("--crop", type=int, metavar="N", help="height and width of a crop, a multiple of 2^depth (128)")
    train.add_argument("--width", type=int, metavar="N", help="channels at full resolution (16)")
    train.add_argument("--depth", type=int, metavar="N", help="how often the resolution is halved (3)")
    train.add_argument("--lr", type=float, metavar="X", help="peak learning rate of Adam (0.002)")
    train.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same weights, bit for bit (0)")
    train.add_argument("--threads", type=int, metavar="N", help="threads to compute with (default: all cores)")
    train.add_argument("--quadrant", type=int, choices=range(4), help="nuclei: the quadrant to test on (3)")
    train.add_argument("--validation", type=float, metavar="X", help="folder: the share of images held out (0.2)")
    train.add_argument("--classes", type=int, metavar="K", help="folder: number of classes (default: as the masks say)")

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 2 for what the user can mend, 130 after Ctrl-C."""
    arguments = parser().parse_args(argv)
    try:
        from upconv.nn.images import InputError
        from upconv.nn.training import TrainingError

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
    from upconv.nn import data, folder, training
    from upconv.nn.progress import Progress

    given = {name: value for name, value in vars(arguments).items() if value is not None}
    only = ("classes", "validation") if arguments.folder is None else ("quadrant",)
    for name in only:
        if name in given:
            where = "a folder" if arguments.folder is None else "the embedded nuclei"
            raise training.InputError(f"--{name} is for training on {where}")
    settings = training.Settings(**{name: given[name] for name in training.Settings.__annotations__ if name in given})
    _set_threads(arguments)
    if arguments.folder is None:
        dataset = data.nuclei(given.get("quadrant", 3))
    else:
        choices = {name: given[name] for name in ("classes", "validation", "seed") if name in given}
        dataset = folder.read_folder(arguments.folder, **choices)
    output = arguments.output or Path("runs") / dataset.title

    console = require("rich.console", extra="train").Console()
    _announce(console, dataset, settings)
    with Progress(settings.steps, console) as progress:
        result = training.train(dataset, settings, output, progress.show)
    if result.interrupted:
        saved = f"the model so far is {result.model_file}" if result.model_file else "nothing was saved"
        print(f"upconv: interrupted after {result.steps} of {settings.steps} steps; {saved}", file=sys.stderr)
        return 130
    _report(console, dataset, result)
    return 0


def _announce(console: Any, dataset: Data, settings: Settings) -> None:
    """What is about to happen."""
    from upconv import kernels
    from upconv.nn.training import build

    threads, s = kernels.get_num_threads(), settings
    parameters = sum(parameter.size for parameter in build(dataset, s).parameters())
    lines = {
        "upconv": f"{__version__}, CPU, {threads} thread" + ("s" if threads > 1 else ""),
        "data": f"{dataset.description}; {dataset.classes} classes",
        "network": f"U-Net of width {s.width} and depth {s.depth}, {parameters:,} parameters",
        "training": f"{s.steps} steps of {s.batch} crops, {s.crop} x {s.crop} pixels; Adam, lr {s.lr:g}, seed {s.seed}",
    }
    for name, text in lines.items():
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
            table.add_row(f"class {k}", f"{dice[k]:.4f}", f"{iou[k]:.4f}")
        table.add_section()
    name = "U-Net" if dataset.classes == 2 else "mean"
    table.add_row(name, f"{metrics.headline(dice):.4f}", f"{metrics.headline(iou):.4f}", style="bold")
    if best := result.baseline:
        sign = ">=" if best.above else "<="
        table.add_row(f"best threshold (intensity {sign} {best.value:g})", f"{best.dice:.4f}", f"{best.iou:.4f}")
    console.print(table)
    for text in (
        f"done in  {result.seconds:.1f} s: {result.model_file}, metrics.csv, preview.png",
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
    from upconv.nn.images import InputError

    if arguments.threads is not None:
        try:
            kernels.set_num_threads(arguments.threads)
        except ValueError as error:
            raise InputError(f"threads is {arguments.threads}; it must be 1 to 1024") from error
