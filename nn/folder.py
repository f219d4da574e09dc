"""A folder of images and masks as training data, and everything that can be wrong with it said at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..settings import CLASSES, SHARE
from .data import VOID, Data, Sample, split, told
from .files import Pathlike
from .images import IMAGE_SUFFIXES, MASK_SUFFIXES, channels, read_image, read_mask

Array = npt.NDArray[Any]


class Pair(NamedTuple):
    """One image and its mask, as they are in the files."""

    path: Path
    mask_path: Path
    image: Array
    mask: Array


INFERRED = 32  # more classes than this must be asked for: masks with so many values are mostly instance labels
IGNORED = ("thumbs.db", "desktop.ini")


def read_folder(
    folder: Pathlike,
    *,
    classes: int | None = None,
    validation: float = 0.2,
    test: float | None = None,
    seed: int = 0,
) -> Data:
    """The pairs folder/images/NAME.* and folder/masks/NAME.*, a random share of them held out.

    Images are PNG, TIFF, JPEG or NPY, grey or colour, all with the same number of channels. Masks are PNG, TIFF or NPY
    of the same size; their values are class indices 0..K-1, and 255 is void: pixels that count nowhere. One exception:
    if the masks of the folder hold 0 and 255 and nothing else, 255 is class 1 (unless `classes` is more than 2). K is
    `classes`, or else one more than the largest index, and at least 2.

    validation, test: the shares held out, drawn with `seed`, as in `split`. All images are kept in memory.
    Raises InputError with one sentence for every problem in the folder, each naming its file.
    """
    root = Path(folder)
    arguments = [SHARE.problem("the validation share", validation)]
    arguments += [] if test is None else [SHARE.problem("the test share", test)]
    arguments += [] if classes is None else [CLASSES.problem("the number of classes", classes)]
    if wrong := [problem for problem in arguments if problem]:
        raise InputError(wrong)
    samples, count, problems = _read_all(root, classes)
    if (alone := _only_class(samples)) is not None:
        problems.append(f"all masks together hold one class only, {alone}: there is nothing to tell apart")
    if not problems and len(samples) < 2:
        problems.append(f"{root} holds one image with a mask; two are needed, one to train and one to test")
    if problems:
        raise InputError(problems)
    train, watched, last = split(samples, validation, test, seed)
    description = f"{root}: {told(train, watched, last)}"
    return Data(root.resolve().name, description, train, last, count, watched)


def read_samples(folder: Pathlike, classes: int) -> list[Sample]:
    """All pairs of a folder, to score a network of so many classes on. Raises InputError as `read_folder` does."""
    samples, _, problems = _read_all(Path(folder), classes)
    if problems:
        raise InputError(problems)
    return samples


def _read_all(root: Path, classes: int | None) -> tuple[list[Sample], int, list[str]]:
    """The pairs in the order of their names, K, and what is wrong with the files."""
    if not root.is_dir():
        raise InputError(f"there is no folder {root}")
    problems = [f"{root} has no subfolder {name}" for name in ("images", "masks") if not (root / name).is_dir()]
    if problems:
        raise InputError(problems)
    pairs = [pair for image, mask in _pairs(root, problems) if (pair := _read(image, mask, problems))]
    _check_channels(pairs, problems)
    labels, count = _labels(pairs, classes, problems)
    samples = [Sample(p.path.stem, p.image, mask, p.path) for p, mask in zip(pairs, labels, strict=False)]
    return samples, count, problems


def _pairs(root: Path, problems: list[str]) -> list[tuple[Path, Path]]:
    """Images and masks of the same name, in the order of the names."""
    images = _by_stem(root / "images", IMAGE_SUFFIXES, problems)
    masks = _by_stem(root / "masks", MASK_SUFFIXES, problems)
    if not images:
        problems.append(f"{root / 'images'} holds no image ({' '.join(IMAGE_SUFFIXES)})")
    for stem in sorted(images.keys() - masks.keys()):
        problems.append(f"{images[stem]} has no mask: {root / 'masks' / stem}.png (or .tif, .npy) is missing")
    for stem in sorted(masks.keys() - images.keys()) if images else ():
        problems.append(f"{masks[stem]} has no image: {root / 'images' / stem}.* is missing")
    return [(images[stem], masks[stem]) for stem in sorted(images.keys() & masks.keys())]


def _only_class(samples: Sequence[Sample]) -> int | None:
    """The class of all pixels, where it is one and the same."""
    present: set[int] = set()
    for sample in samples:
        present |= {*np.unique(sample.labels).tolist()} - {VOID}
        if len(present) > 1:
            return None
    return present.pop() if present else None


def _by_stem(folder: Path, suffixes: Sequence[str], problems: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.lower() in IGNORED:
            continue
        if path.suffix.lower() not in suffixes or not path.is_file():
            problems.append(f"{path} does not belong here: {folder.name} are files in {' '.join(suffixes)}")
        elif path.stem in found:
            problems.append(f"{path} and {found[path.stem].name} have the same name; one of them must go")
        else:
            found[path.stem] = path
    return found


def _read(path: Path, mask_path: Path, problems: list[str]) -> Pair | None:
    """Both files; None where something is wrong with one of them, or with their sizes."""
    try:
        image = read_image(path)
    except InputError as error:
        problems.extend(error.problems)
        image = None
    try:
        mask = read_mask(mask_path)
    except InputError as error:
        problems.extend(error.problems)
        return None
    if image is None:
        return None
    if image.shape[:2] != mask.shape:
        sizes = " x ".join(map(str, mask.shape)), " x ".join(map(str, image.shape[:2]))
        problems.append(f"{mask_path} is {sizes[0]} pixels, its image {sizes[1]}; they must be equal")
        return None
    return Pair(path, mask_path, image, mask)


def _check_channels(pairs: Sequence[Pair], problems: list[str]) -> None:
    counts = [pair.image.shape[2] for pair in pairs]
    usual = max(counts, key=counts.count, default=0)
    for pair, here in zip(pairs, counts, strict=True):
        if here != usual:
            other = pairs[counts.index(usual)].path
            problems.append(f"{pair.path} has {channels(here)}, {other} {usual}; all must have the same number")


def _labels(pairs: Sequence[Pair], classes: int | None, problems: list[str]) -> tuple[list[Array], int]:
    """The masks as labels 0..K-1 and VOID in uint8, and K: the rule of `read_folder`."""
    values = [np.unique(pair.mask).tolist() for pair in pairs]
    every = sorted(set().union(*values))
    if every == [0, 255] and (classes or 2) == 2:
        return [(pair.mask == 255).astype(np.uint8) for pair in pairs], 2
    largest = max((value for value in every if value != VOID), default=0)
    count = min(max(largest + 1, 2), VOID) if classes is None else classes
    wrong = [[v for v in found if v != VOID and not 0 <= v < count] for found in values]
    for pair, found, outside in zip(pairs, values, wrong, strict=True):
        if outside:
            shown = ", ".join(map(str, outside[:5])) + (", ..." if len(outside) > 5 else "")
            problems.append(f"{pair.mask_path} holds {shown}; labels are 0 to {count - 1}, and {VOID} for void")
        elif found == [VOID]:
            problems.append(f"{pair.mask_path} is void ({VOID}) everywhere: there is nothing to learn from it")
    if any(wrong):
        return [], count
    if classes is None and count > INFERRED:
        problems.append(
            f"the masks hold indices up to {largest}; if these number objects, make them 0 and 1,"
            f" and if there really are {count} classes, say --classes {count}"
        )
    return [pair.mask.astype(np.uint8) for pair in pairs], count
