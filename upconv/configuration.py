"""Settings in TOML files: a name and a value a line, the same names that the command line has."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ._extras import require
from .errors import InputError
from .settings import Network, Settings, Source, unknown

LARGEST = 1 << 20  # bytes of a file: one that is larger is something else
GROUPS = (Source, Settings, Network)
NAMES = [each.name for group in GROUPS for each in fields(group)]


def read(path: Path) -> dict[str, Any]:
    """The names and values of a file. Raises InputError for what is no TOML, and for names that there are not."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise InputError(f"{path} has {size} bytes; a configuration has {LARGEST} at most")
        values = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        told = str(error).splitlines()[0] if str(error) else "too deeply nested"
        raise InputError(f"{path} is not TOML: {told}") from error
    if wrong := [f"{path}: {unknown(name, NAMES)}" for name in values if name not in NAMES]:
        raise InputError(wrong)
    return values


def resolve(values: Mapping[str, Any]) -> tuple[Source, Settings, Network]:
    """The values by what they belong to, the others at their defaults. Raises InputError with all that is wrong."""
    made: list[Any] = []
    problems: list[str] = []
    for group in GROUPS:
        try:
            made.append(group(**{each.name: values[each.name] for each in fields(group) if each.name in values}))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    source, settings, network = made
    if problem := _crop_problem(settings.crop, network):
        raise InputError(problem)
    return source, settings, network


def _crop_problem(crop: int, network: Network) -> str | None:
    """What is wrong with crops for a U-Net. It is told before a network of absurd depth is built."""
    if network.network != "unet":
        return None
    depth, lost = network.depth or 0, 0 if network.padded else 4
    if (times := (crop + lost) >> depth) and times << depth == crop + lost:
        return None
    less = "" if network.padded else ", less 4 where it is not padded"
    return f"crop is {crop}; with depth {depth} it must be a multiple of 2^{depth}{less}"


def text(values: Mapping[str, Any]) -> str:
    """A file of these values; names whose value is None are left out."""
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return require("tomli_w", extra="train").dumps({name: value for name, value in given.items() if value is not None})
