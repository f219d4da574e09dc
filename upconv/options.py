"""What the `upconv` command understands, and its help."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from upconv import __version__
from upconv.settings import Network, Rule, Settings, Source

BROUGHT = ("resnet", "unet", "vgg")  # of `nn.from_pytorch`
TRAIN = """\
Train a network, a U-Net unless --network names another, to label every pixel of an image.

Without FOLDER it learns the embedded example, nuclei under a fluorescence microscope: on three quadrants of a 512 x 512
image, tested on the fourth beside the best that one intensity threshold can do there.

FOLDER/images holds PNG, TIFF, JPEG or NPY files, grey or colour; FOLDER/masks a PNG, TIFF or NPY of the same name and
size for each. The values of a mask are class indices 0, 1, 2, ...; 255 is void and counts nowhere. If all masks
together hold 0 and 255 and nothing else, 255 is class 1. Some of the images are held out for the test (--validation).

With --data scenes it learns pictures that are drawn: shapes of several classes before a texture."""

TRAIN_EXAMPLES = """\
examples:
  upconv train
  upconv train --quadrant 0 --output runs/quadrant0
  upconv train --data scenes --classes 7
  upconv train my_images --steps 1000 --width 32 --crop 256
  upconv train my_images --network segnet --depth 4
  upconv train my_images --optimizer sgd --lr 0.01 --elastic 10 --class-weights balanced --early-stopping 5
  upconv train my_images --config settings.toml --seed 1
  upconv train --resume runs/my_images
  upconv train --steps 3 --width 2                    a quick try

Written to the output folder: model.safetensors (the last weights, with --early-stopping the best), best.safetensors,
checkpoint.safetensors, config.toml (all settings: --config takes it), metrics.csv (a row a step), evaluation.csv (a row
a class), progress.png, preview.png. Files of an earlier training there are replaced. Ctrl-C ends after the step at
hand; then, or after a crash, --resume DIR goes on from the last checkpoint, to the very result that an uninterrupted
training gives. A TOML file has lines like  lr = 0.001  with the names of the options, and _ for -."""

EVALUATE = """\
Score a model on labelled images: Dice and IoU of all their pixels together.

Without FOLDER these are the test images of the training that wrote the model: those that it held out, as config.toml
beside it says. With FOLDER, laid out as for `upconv train`, every image in it counts."""

EVALUATE_EXAMPLES = """\
examples:
  upconv evaluate runs/my_images/model.safetensors
  upconv evaluate runs/my_images/best.safetensors more_images --output scores.csv"""

PREDICT = """\
Label every pixel of an image of any size with a model of `upconv train`.

The mask is an 8-bit PNG: 0 and 255 for two classes, class indices for more. Images larger than a tile are computed in
tiles that overlap as the network needs it, with the result of the whole image, in the memory of one tile."""

PREDICT_EXAMPLES = """\
examples:
  upconv predict runs/nuclei/model.safetensors runs/nuclei/test_image.png
  upconv predict model.safetensors cells.tif --output mask.png --probability probability.png
  upconv predict model.safetensors slide.tif --tile 512 --overlay overlay.png"""


IMPORT = """\
Turn the weights of a PyTorch model into a model of upconv.

WEIGHTS is a state dict as a safetensors file; in PyTorch, safetensors.torch.save_file(model.state_dict(), PATH) writes
one. Its shapes tell width, depth, channels and classes. What does not fit is refused, and listed."""

IMPORT_EXAMPLES = """\
networks:
  unet      names as in https://github.com/milesial/Pytorch-UNet (inc, down1, up1, outc), or upconv's own
  vgg       torchvision's vgg11, vgg13, vgg16, vgg19, with or without _bn
  resnet    torchvision's resnet18, resnet34

examples:
  upconv import vgg16.safetensors vgg16_model.safetensors --network vgg
  upconv import carvana.safetensors unet.safetensors --network unet"""

EXPORT = """\
Write a model as an ONNX file, or its weights for PyTorch.

OUTPUT.onnx holds the network as it predicts, for images of any size and number where it takes them; --size gives one.
OUTPUT.safetensors holds the weights under the names of the PyTorch models that `upconv import` reads."""

EXPORT_EXAMPLES = """\
examples:
  upconv export runs/nuclei/model.safetensors nuclei.onnx --size 256 256
  upconv export vgg16_model.safetensors vgg16.safetensors"""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line on stderr."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, and exit with 2."""
        self.exit(2, f"upconv: {message} (help: {self.prog} --help)\n")


def parser() -> Parser:
    """The command line of upconv."""
    top = Parser(prog="upconv", description="Dense prediction on kernels written in Python: train, score, predict.")
    top.add_argument("--version", action="version", version=f"upconv {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="train | evaluate | predict | import | export")
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

    evaluate = commands.add_parser(
        "evaluate", help="score a model", description=EVALUATE, epilog=EVALUATE_EXAMPLES, formatter_class=raw
    )
    evaluate.add_argument("model", type=Path, help="a model.safetensors")
    evaluate.add_argument("folder", type=Path, nargs="?", help="labelled images (default: those that were held out)")
    evaluate.add_argument("--output", type=Path, metavar="CSV", help="write a row for each class as well")
    _add_device(evaluate)
    evaluate.add_argument("--threads", type=int, metavar="N", help="threads to compute with (default: all cores)")

    predict = commands.add_parser(
        "predict", help="predict a mask", description=PREDICT, epilog=PREDICT_EXAMPLES, formatter_class=raw
    )
    predict.add_argument("model", type=Path, help="a model.safetensors")
    predict.add_argument("image", type=Path, help="a PNG, TIFF, JPEG or NPY with as many channels as in training")
    predict.add_argument(
        "--output", type=Path, metavar="PNG", help="the mask (default: IMAGE_mask.png beside the image)"
    )
    predict.add_argument(
        "--probability",
        type=Path,
        metavar="FILE",
        help="write the probability as well: a PNG, 0..255, of class 1 if there are two classes, else of the class that"
        " was chosen; or an NPY file of all classes",
    )
    predict.add_argument("--overlay", type=Path, metavar="PNG", help="draw the prediction over the image")
    predict.add_argument(
        "--tile", type=int, metavar="N", help="pixels a side that are predicted at a time, for memory's sake (1024)"
    )
    _add_device(predict)
    predict.add_argument("--threads", type=int, metavar="N", help="threads to compute with (default: all cores)")
    brought = commands.add_parser(
        "import", help="weights from PyTorch", description=IMPORT, epilog=IMPORT_EXAMPLES, formatter_class=raw
    )
    brought.add_argument("weights", type=Path, help="a state dict, a safetensors file")
    brought.add_argument("output", type=Path, help="the model, named .safetensors")
    brought.add_argument("--network", required=True, choices=BROUGHT, help="what the weights are of")
    brought.add_argument("--unpadded", action="store_true", help="unet: convolutions without padding, as in the paper")

    taken = commands.add_parser(
        "export",
        help="a model as ONNX, or weights for PyTorch",
        description=EXPORT,
        epilog=EXPORT_EXAMPLES,
        formatter_class=raw,
    )
    taken.add_argument("model", type=Path, help="a model.safetensors")
    taken.add_argument("output", type=Path, help="the file, named .onnx or .safetensors")
    taken.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="ONNX: pixels of an image")
    taken.add_argument("--fixed", action="store_true", help="ONNX: for one image of this size alone")
    return top


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", metavar="NAME", help="where to compute (default: cpu); cpu, cuda or cuda:N")


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
