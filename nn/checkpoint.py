"""A training on disk, after a step: all that the next step depends on, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from upconv import __version__

from ..errors import InputError
from .data import Data
from .files import Pathlike, write
from .io import CHECKSUM, content, read
from .tensor import Array
from .trainer import Trainer

FORMAT = "1"
METADATA = (
    "upconv.checkpoint",
    "upconv.model",
    "upconv.config",
    "upconv.data",
    "upconv.settings",
    "upconv.state",
    CHECKSUM,
)


def save(trainer: Trainer, path: Pathlike) -> None:
    """Write a checkpoint, complete or not at all."""
    optimizer = trainer.optimizer.state_dict()["state"]
    tensors = {f"model.{name}": array for name, array in trainer.model.state_dict().items()}
    for i, each in optimizer.items():
        tensors |= {f"optimizer.{i}.{name}": each[name] for name in trainer.optimizer.arrays}
    state = {
        "done": trainer.done,
        "best": None if np.isnan(trainer.best) else trainer.best,
        "waited": trainer.waited,
        "seconds": trainer.seconds,
        "random": trainer.random,
        "dropout": trainer.dropout.bit_generator.state,
        "optimizer": {i: each["step"] for i, each in optimizer.items()},
    }
    metadata = {**_of(trainer), "upconv.state": json.dumps(state), "upconv.version": __version__}
    write(path, content({**tensors, "recent": trainer.recent}, metadata))


def restore(trainer: Trainer, path: Pathlike) -> None:
    """Bring a trainer that has done nothing yet to where the checkpoint was written.

    Nothing is changed unless everything fits. Raises InputError saying what does not: the file, the model, the data,
    the settings (each that differs), tensors by name, shape and dtype.
    """
    try:
        tensors, metadata = read(path)
        missing = [key for key in METADATA if key not in metadata]
        if missing:
            raise ValueError(f"is no checkpoint: its metadata lacks {', '.join(missing)}")
        _check_origin(_of(trainer), metadata)
        state = json.loads(metadata["upconv.state"])
        optimizer = {int(i): int(step) for i, step in state["optimizer"].items()}
        _check_tensors(_expected(trainer, optimizer), tensors)
        generators = [_generator(state["random"]), _generator(state["dropout"])]
        done, waited, seconds = int(state["done"]), int(state["waited"]), float(state["seconds"])
        best = np.nan if state["best"] is None else float(state["best"])
        if not 0 <= done <= trainer.settings.steps or waited < 0:
            raise ValueError(f"was written after step {done} of {trainer.settings.steps}")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        clear = str(error) if type(error) is ValueError else f"holds a state that cannot be used ({error!r})"
        raise InputError(f"cannot resume: {path} {clear}") from error
    trainer.model.load_state_dict(_part(tensors, "model."))
    trainer.optimizer.load_state_dict(_optimizer_state(trainer, tensors, optimizer))
    trainer.recent, trainer.done, trainer.waited, trainer.best = tensors["recent"], done, waited, best
    trainer.random, trainer.dropout = generators[0].bit_generator.state, generators[1]
    trainer.before = seconds


def is_of(path: Pathlike, data: Data) -> bool:
    """Whether a checkpoint is of a training on these images, each for the same use. InputError if it cannot be read."""
    try:
        return read(path)[1].get("upconv.data") == _named(data)
    except ValueError as error:
        raise InputError(f"{path} {error}") from error


def _named(data: Data) -> str:
    return f"{data.title} {data.digest()}"


def _of(trainer: Trainer) -> dict[str, str]:
    """What a checkpoint belongs to."""
    return {
        "upconv.checkpoint": FORMAT,
        "upconv.model": type(trainer.model).__name__,
        "upconv.config": json.dumps(trainer.model.config),
        "upconv.data": _named(trainer.data),
        "upconv.settings": json.dumps(asdict(trainer.settings)),
    }


def _check_origin(ours: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    """Raise ValueError for a checkpoint of another training."""
    names = {"checkpoint": "format", "model": "model", "config": "model's arguments", "data": "data"}
    faults = [
        f"its {name} is {theirs[key]}, here it is {ours[key]}"
        for key, name in ((f"upconv.{key}", name) for key, name in names.items())
        if theirs[key] != ours[key]
    ]
    mine, its = json.loads(ours["upconv.settings"]), json.loads(theirs["upconv.settings"])
    if not isinstance(its, dict):
        raise ValueError("has settings that cannot be read")
    for key in mine | its:
        if mine.get(key) != its.get(key) and key != "device":  # a training may go on elsewhere
            faults.append(f"its {key} is {its.get(key)}, here it is {mine.get(key)}")
    if faults:
        raise ValueError(f"is of another training: {'; '.join(faults)}")


def _expected(trainer: Trainer, steps: Mapping[int, int]) -> dict[str, Array]:
    """Arrays of the shapes and dtypes that the tensors must have."""
    expected = {f"model.{name}": array for name, array in trainer.model.state_dict().items()}
    params = trainer.optimizer.params
    for i, step in steps.items():
        if step < 1:
            raise ValueError(f"has a state of parameter {i} that was stepped {step} times")
        if i not in range(len(params)):
            raise ValueError(f"has a state of parameter {i}; there are {len(params)} parameters")
        expected |= {f"optimizer.{i}.{name}": params[i].data for name in trainer.optimizer.arrays}
    return expected | {"recent": trainer.recent}


def _check_tensors(expected: Mapping[str, Array], tensors: Mapping[str, Array]) -> None:
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    faults = [f"missing: {', '.join(missing)}"] * bool(missing)
    faults += [f"unexpected: {', '.join(unexpected)}"] * bool(unexpected)
    for name in sorted(expected.keys() & tensors.keys()):
        needed, found = expected[name], tensors[name]
        if (needed.shape, needed.dtype) != (found.shape, found.dtype):
            faults.append(f"{name} is {found.dtype} {found.shape}, here {needed.dtype} {needed.shape}")
    if faults:
        raise ValueError(f"has tensors that do not fit: {'; '.join(faults)}")


def _optimizer_state(trainer: Trainer, tensors: Mapping[str, Array], steps: Mapping[int, int]) -> dict[str, Any]:
    state = {i: {"step": step, **_part(tensors, f"optimizer.{i}.")} for i, step in steps.items()}
    return {**trainer.optimizer.state_dict(), "state": state}


def _part(tensors: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _generator(state: Any) -> np.random.Generator:
    rng = np.random.default_rng()
    try:
        rng.bit_generator.state = state
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"holds a state of a random generator that cannot be used: {error!r}") from error
    return rng
