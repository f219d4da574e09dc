"""Image files to arrays and back: PNG, TIFF, JPEG and NPY in, PNG out."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from upconv._extras import require
from upconv.errors import InputError

from .files import Pathlike

Array = npt.NDArray[Any]

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".npy")
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".npy")  # JPEG is lossy: it changes labels


def read_image(path: Pathlike) -> Array:
    """The image in a file as H x W x C, in the dtype of the file (8- or 16-bit integers, or floats).

    Colours are RGB: palettes are looked up, an alpha channel is dropped. TIFF files may have any number of channels,
    first or last, NPY files too, last. Raises InputError where there is no such file, it cannot be read, it holds
    several planes or pages, or numbers that are not finite.
    """
    path = Path(path)
    image = _decoded(path, colour=True)
    if image.ndim == 2:
        image = image[:, :, None]
    if image.dtype.kind not in "buif":
        raise InputError(f"{path} has dtype {image.dtype}; an image holds integers or floats")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise InputError(f"{path} holds NaN or infinite values; every pixel must be finite")
    return image.astype(np.uint8) if image.dtype == bool else image


def read_mask(path: Pathlike) -> Array:
    """The labels in a file as H x W integers; of a palette file the palette's indices.

    Raises InputError where the file cannot be read, has several differing channels, or holds floats.
    """
    path = Path(path)
    mask = _decoded(path, colour=False)
    if mask.ndim == 3:
        if (mask[:, :, 1:3] != mask[:, :, :1]).any():
            raise InputError(f"{path} is a colour image; a mask has one channel, whose values are class indices")
        mask = mask[:, :, 0]
    if mask.dtype.kind not in "bui":
        raise InputError(f"{path} holds {mask.dtype} numbers; a mask holds integers, the class indices")
    return mask.astype(np.uint8) if mask.dtype == bool else mask


def channels(count: int) -> str:
    """The count in words: "1 channel", "3 channels"."""
    return f"{count} channel" + ("s" if count > 1 else "")


def png(image: Array) -> bytes:
    """An H x W or H x W x 3 uint8 array as the content of a PNG file."""
    content = BytesIO()
    require("PIL.Image", extra="train").fromarray(image).save(content, "PNG")
    return content.getvalue()


def _decoded(path: Path, *, colour: bool) -> Array:
    """H x W or H x W x C, in native byte order."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    first, then = _with_pillow, None
    if path.suffix.lower() in (".tif", ".tiff"):
        first, then = _with_tifffile, _with_pillow  # Pillow knows compressions that tifffile needs a package for
    elif path.suffix.lower() == ".npy":
        first = _with_numpy
    with warnings.catch_warnings(action="ignore"):
        try:
            array = first(path, colour)
        except (ImportError, InputError):
            raise
        except Exception as error:  # decoders raise whatever they like: OSError, ValueError, struct.error, ...
            try:
                if then is None:
                    raise
                array = then(path, colour)
            except Exception:
                raise InputError(f"{path} cannot be read as an image: {_first_line(error)}") from error
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _with_pillow(path: Path, colour: bool) -> Array:
    with require("PIL.Image", extra="train").open(path) as file:
        if getattr(file, "n_frames", 1) > 1:
            raise InputError(f"{path} holds {file.n_frames} pages; one image is needed")
        if colour and file.mode in ("1", "LA", "La"):
            return np.asarray(file.convert("L"))
        if colour and file.mode not in ("L", "I", "F", "RGB") and not file.mode.startswith("I;"):
            return np.asarray(file.convert("RGB"))
        return np.asarray(file)


def _with_tifffile(path: Path, colour: bool) -> Array:
    tifffile = require("tifffile", extra="train")
    with tifffile.TiffFile(path) as file:
        series, page = file.series[0], file.pages[0]
        array, axes = series.asarray(), series.axes
        if len(file.series) > 1 or axes not in ("YX", "YXS", "YXC", "SYX", "CYX"):
            raise InputError(
                f"{path} holds {len(file.series)} series of shape {array.shape} (axes {axes}); one image is needed"
            )
        if axes in ("SYX", "CYX"):
            array = np.moveaxis(array, 0, -1)
        alpha = page.photometric == tifffile.PHOTOMETRIC.RGB and array.ndim == 3 and array.shape[-1] == 4
        return np.ascontiguousarray(array[..., :3] if alpha else array)


def _with_numpy(path: Path, colour: bool) -> Array:
    with path.open("rb") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)  # np.load would take archives as well
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"{path} holds an array of shape {array.shape}; H x W or H x W x C is needed")
    return array


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
