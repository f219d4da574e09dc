"""Image files to masks in files, with a model in a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .configured import placed
from .files import Pathlike, replacing, write
from .images import InputError, channels, png, read_image
from .inference import TILE, OnTile, labels, tiles
from .io import load_given
from .overlay import overlay as drawn_over
from .plan import planned
from .tensor import Array


def predict_file(
    model: Pathlike,
    image: Pathlike,
    output: Pathlike,
    probability: Pathlike | None = None,
    overlay: Pathlike | None = None,
    *,
    tile: int = TILE,
    on_tile: OnTile | None = None,
    device: str | None = None,
) -> Array:
    """Predict the image in a file with the model in a file; write the mask to the PNG `output`, and return the labels.

    Two classes are written as 0 and 255, more as class indices. probability: a PNG, 0..255, for the probability of
    class 1 (two classes) or of the class that was chosen; or an NPY file for those of all classes, K x H x W float32.
    overlay: a PNG of the image with the labels drawn over it. tile, on_tile: as `predict` has them. device: where to
    compute, by default on the CPU. Each file appears complete or not at all. Raises InputError saying which file cannot
    be used, and why.
    """
    outputs = {"mask": output, "probability": probability, "overlay": overlay}
    _check({what: Path(path) for what, path in outputs.items() if path is not None}, [Path(image), Path(model)])
    network = placed(load_given(model), device)
    pixels = read_image(image)
    config: dict[str, Any] = network.config or {}
    wanted = config["in_channels"] if "in_channels" in config else pixels.shape[2]
    if pixels.shape[2] != wanted:
        raise InputError(f"{image} has {channels(pixels.shape[2])}; {model} was trained on {channels(wanted)}")
    try:
        plan = planned(network, pixels, tile)
    except ValueError as error:
        raise InputError(f"{model} with {image}: {error}") from error
    if plan.classes > 256:
        raise InputError(f"{model} knows {plan.classes} classes; masks are written with up to 256")
    found, chosen = np.empty(plan.size, np.uint8), np.empty(plan.size if probability else (0, 0), np.uint8)
    with _every_class(probability, (plan.classes, *plan.size)) as every:
        for place, scores in tiles(network, plan, on_tile):
            found[place] = labels(scores)
            if every is not None:
                every[(slice(None), *place)] = scores
            elif probability is not None:
                likely = scores[1] if plan.classes == 2 else scores.max(axis=0)
                chosen[place] = np.rint(likely * 255)
    write(output, png(found * np.uint8(255) if plan.classes == 2 else found))
    if probability is not None and Path(probability).suffix.lower() == ".png":
        write(probability, png(chosen))
    if overlay is not None:
        write(overlay, png(drawn_over(pixels, found, plan.classes)))
    return found


@contextmanager
def _every_class(path: Pathlike | None, shape: tuple[int, ...]) -> Iterator[Array | None]:
    """An array of float32 that is written to an NPY file at the end; None where the path is none of one."""
    if path is None or Path(path).suffix.lower() != ".npy":
        yield None
        return
    with replacing(path) as beside:
        array = np.lib.format.open_memmap(beside, "w+", np.float32, shape)
        yield array
        array.flush()


def _check(outputs: dict[str, Path], inputs: list[Path]) -> None:
    for what, path in outputs.items():
        allowed = (".png", ".npy") if what == "probability" else (".png",)
        if path.suffix.lower() not in allowed:
            raise InputError(f"{path} must be named {' or '.join(allowed)}: it is to hold the {what}")
        if not path.parent.is_dir():
            raise InputError(f"there is no folder {path.parent} to write {path.name} to")
        if path.resolve() in [each.resolve() for each in inputs]:
            raise InputError(f"{path} would overwrite what is read; give another name for the {what}")
    names = [path.resolve() for path in outputs.values()]
    for i, (what, path) in enumerate(outputs.items()):
        if names[i] in names[:i]:
            first = list(outputs)[names.index(names[i])]
            raise InputError(f"{path} cannot be {first} and {what} at once; give each its name")
