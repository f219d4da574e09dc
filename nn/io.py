"""Models on disk: safetensors files (never pickle) that say which model to build and hold its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numpy as np

from .._extras import require
from ..errors import InputError
from . import init
from .files import Pathlike, write
from .module import Module
from .tensor import Array

FORMAT = 1
CHECKSUM = "upconv.crc32"  # in the metadata, of all else
MODELS: dict[str, Any] = {}

M = TypeVar("M", bound=type[Module])


def register_model(cls: M) -> M:
    """Class decorator: let `load` build models of this class, as cls(**config, rng=...)."""
    MODELS[cls.__name__] = cls
    return cls


def save(model: Module, path: Pathlike, metadata: Mapping[str, str] | None = None) -> None:
    """Write the weights of a registered model to `path`, and what is needed to rebuild it.

    The file holds `state_dict()` and the metadata upconv.format, upconv.model (the class) and upconv.config (its
    constructor arguments, JSON), and whatever strings `metadata` adds: where the weights come from, say, which
    `safetensors.safe_open(path, "numpy").metadata()` reads. It appears complete or not at all (`files.write`).
    Raises ValueError if the model's class is not registered or has no config, OSError if the disk refuses.
    """
    path, name = Path(path), type(model).__name__
    check_registered(model)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save: there is no folder {path.parent}")
    ours = {"upconv.format": str(FORMAT), "upconv.model": name, "upconv.config": json.dumps(model.config)}
    write(path, content(model.state_dict(), {**(metadata or {}), **ours}))


def load(path: Pathlike) -> Module:
    """The model that `save` wrote to `path`, in training mode, with the dtype it was saved in.

    Raises FileNotFoundError, and ValueError where the file is no safetensors file, is cut short, is not from `save`,
    names a model this version does not know, or holds weights that do not fit that model.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"load: there is no file {path}")
    try:
        tensors, metadata = read(path)
    except ValueError as error:
        raise ValueError(f"load: {path} {error}") from error
    missing = [key for key in ("upconv.format", "upconv.model", "upconv.config") if key not in metadata]
    if missing:
        raise ValueError(
            f"load: {path} was not written by upconv.nn.save (its metadata lacks {', '.join(missing)});"
            " if it holds weights alone, build the model and give safetensors.numpy.load_file(path) to load_state_dict"
        )
    if metadata["upconv.format"] != str(FORMAT):
        raise ValueError(f"load: {path} has format {metadata['upconv.format']}; this version of upconv reads {FORMAT}")
    name = metadata["upconv.model"]
    if name not in MODELS:
        raise ValueError(f"load: {path} holds a {name}; known models are {', '.join(sorted(MODELS))}")
    try:
        with init.at_most(sum(tensor.size for tensor in tensors.values())):
            model = MODELS[name](**json.loads(metadata["upconv.config"]), rng=0)  # the global generator is left alone
    except (TypeError, ValueError, MemoryError, OverflowError, RecursionError) as error:
        raise ValueError(f"load: {path} holds a {name} that cannot be built: {_line(error)}") from error
    try:
        if tensors and all(tensor.dtype == "float64" for tensor in tensors.values()):
            model.to("float64")
        model.load_state_dict(tensors)
    except ValueError as error:
        raise ValueError(f"load: {path}: {error}") from error
    return model


def load_given(path: Pathlike) -> Module:
    """`load` of what the user named; InputError where it cannot be used."""
    try:
        return load(path)
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be used as a model: {str(error).removeprefix('load: ')}") from error


def check_registered(model: Module) -> None:
    """Raise ValueError for a model that `save` cannot write."""
    name = type(model).__name__
    if MODELS.get(name) is not type(model) or model.config is None:
        raise ValueError(f"save: {name} cannot be rebuilt by load: it needs @register_model and self.config")


def content(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file, with a checksum of all it holds in the metadata."""
    told = {**metadata, CHECKSUM: _checksum(tensors, metadata)}
    return require("safetensors.numpy", extra="train").save(dict(tensors), told)


def read(path: Pathlike) -> tuple[dict[str, Array], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises ValueError ("is not a safetensors file, or is cut short: ...") for other files, for dtypes that NumPy lacks,
    and where it holds anything else than `content` was given.
    """
    safetensors = require("safetensors", extra="train")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ValueError(f"is not a safetensors file, or is cut short: {_line(error)}") from error
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"holds tensors of a dtype that NumPy lacks: {_line(error)}") from error
    if CHECKSUM in metadata and metadata[CHECKSUM] != (found := _checksum(tensors, metadata)):
        raise ValueError(f"is damaged: the checksum of what it holds is {found}, it should be {metadata[CHECKSUM]}")
    return tensors, metadata


def _checksum(tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    told = sorted((name, value) for name, value in metadata.items() if name != CHECKSUM)
    total = crc32(json.dumps(told).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        total = crc32(array.data, crc32(repr((name, array.shape, array.dtype.str)).encode(), total))
    return f"{total:08x}"


def _line(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())
