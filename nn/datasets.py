"""Labelled images for classifiers: scikit-learn's digits, and Fashion-MNIST from its files."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from upconv._extras import require

from ..errors import InputError
from ..settings import NATURAL, SHARE
from .files import Pathlike
from .tensor import Array

CLASSES = 10  # of both
FOLDER = "UPCONV_FASHION_MNIST"  # the environment variable that names the folder of the IDX files
LARGEST = 2**31  # numbers in a file; Fashion-MNIST's largest has 47 million


@dataclass(frozen=True)
class Classified:
    """Images N x 1 x H x W in float32, from 0 to 1, and what each shows, N of int64 from 0 to 9."""

    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array


def digits(*, test: float = 0.2, seed: int = 0) -> Classified:
    """scikit-learn's 1797 written digits, 8 x 8 pixels; a random share of them, drawn with `seed`, is for the test.

    The same 13 people wrote both parts. Nothing is downloaded: the images come with scikit-learn.
    Needs the extra `digits`. Raises ImportError where that is missing, InputError for a share or seed that is none.
    Source: Alpaydin & Kaynak 1998, "Optical recognition of handwritten digits" (UCI), its test set.
    """
    rules = (SHARE.problem("digits: test", test), NATURAL.problem("digits: seed", seed))
    if problems := [problem for problem in rules if problem]:
        raise InputError(problems)
    found = require("sklearn.datasets", extra="digits").load_digits()
    images, labels = (found.images[:, None] / 16).astype(np.float32), found.target.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(labels))
    held_out = min(max(round(test * len(labels)), 1), len(labels) - 1)
    first, rest = np.sort(order[held_out:]), np.sort(order[:held_out])
    return Classified(images[first], labels[first], images[rest], labels[rest])


def fashion_mnist(folder: Pathlike | None = None) -> Classified:
    """Fashion-MNIST, or MNIST, from its four IDX files: 60 000 images to train and 10 000 for the test, 28 x 28 pixels.

    folder: holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte,
    each as it is or as .gz; None: the folder that the environment variable UPCONV_FASHION_MNIST names. Any number and
    size of images will do. Nothing is downloaded; https://github.com/zalandoresearch/fashion-mnist has the files.
    Raises InputError with one sentence for every file that is missing, damaged or something else.
    Source: Xiao, Rasul & Vollgraf 2017, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms"; the format: LeCun, Cortes & Burges, "The MNIST database of handwritten digits".
    """
    named = folder if folder is not None else os.environ.get(FOLDER)
    if not named:
        raise InputError(
            f"fashion_mnist: no folder is given and {FOLDER} names none; download the four files of"
            " https://github.com/zalandoresearch/fashion-mnist (train-images-idx3-ubyte.gz, ...) and give their folder"
        )
    root = Path(named)
    if not root.is_dir():
        raise InputError(f"fashion_mnist: there is no folder {root}")
    arrays: list[Array] = []
    problems: list[str] = []
    for part in ("train", "t10k"):
        try:
            arrays += _part(root, part)
        except InputError as error:
            problems += error.problems
    if not problems and arrays[0].shape[2:] != arrays[2].shape[2:]:
        sizes = [" x ".join(map(str, arrays[i].shape[2:])) for i in (0, 2)]
        problems.append(f"{root}: images to train are {sizes[0]} pixels, to test {sizes[1]}; they must be equal")
    if problems:
        raise InputError(problems)
    return Classified(*arrays)


def read_idx(path: Path, dimensions: int) -> Array:
    """The uint8 array with so many dimensions in an IDX file, compressed by gzip or not, whatever its name.

    The file is 0, 0, 8 (uint8), the number of dimensions; each size in four bytes, the highest first; the numbers.
    Raises InputError where it cannot be read or is anything else.
    """
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else path.open("rb") as file:
            header = file.read(4 + 4 * dimensions)
            if len(header) < 4 + 4 * dimensions or header[:4] != bytes([0, 0, 8, dimensions]):
                wanted = f"an IDX file of uint8 with {dimensions} dimension{'s' * (dimensions > 1)}"
                begin = f"it begins with {header[:4].hex(' ')}" if header else "it is empty"
                raise InputError(f"{path} is not {wanted}: {begin}")
            shape = struct.unpack(f">{dimensions}I", header[4:])
            count = math.prod(shape)
            if count > LARGEST:
                raise InputError(f"{path} says its shape is {shape}: {count} numbers; at most {LARGEST} are read")
            content = file.read(count + 1)
    except (OSError, EOFError, zlib.error) as error:
        told = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {told}") from error
    if len(content) != count:
        held = len(content) if len(content) < count else "more"
        raise InputError(f"{path} says its shape is {shape}: {count} numbers; it holds {held}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _part(root: Path, part: str) -> list[Array]:
    """The images and the labels of a part."""
    read: list[Array] = []
    problems: list[str] = []
    for kind, dimensions in (("images", 3), ("labels", 1)):
        name = f"{part}-{kind}-idx{dimensions}-ubyte"
        try:
            read.append(read_idx(_found(root, name), dimensions))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    images, labels = read
    if 0 in images.shape:
        raise InputError(f"{root}: {part} has images of shape {images.shape}, which hold nothing")
    if len(images) != len(labels):
        raise InputError(f"{root}: {part} has {len(images)} images and {len(labels)} labels; as many are needed")
    if labels.max() >= CLASSES:
        raise InputError(f"{root}: {part} has labels up to {labels.max()}; 0 to {CLASSES - 1} are allowed")
    scaled = images[:, None].astype(np.float32)
    scaled /= 255
    return [scaled, labels.astype(np.int64)]


def _found(root: Path, name: str) -> Path:
    for path in (root / name, root / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(f"{root} has no file {name}, nor {name}.gz")
