"""Compiling and starting CUDA kernels: NVRTC through CuPy's `RawModule`, at first use, kept on disk by CuPy."""

from __future__ import annotations

import hashlib
import logging
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ..namespace import cupy

FOLDER = Path(__file__).parent
OPTIONS = ("-std=c++17", f"-I{FOLDER}")

UNASKED = 48 * 1024  # bytes of shared memory that a kernel may have without asking
LONG = 1.0  # seconds of compiling after which users are told

NULL = np.uint64(0)  # what CuPy makes of None is no null pointer: github.com/cupy/cupy/issues/9046

Grid = int | tuple[int, ...]

logger = logging.getLogger("upconv")
_spent = [0.0]  # seconds


@cache
def _sources() -> str:
    """A digest of all sources: CuPy keys machine code by the text of one file and the options, not by its headers."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.glob("*.cu*")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _took(seconds: float) -> None:
    """Say once why the first calls are slow. (A warning is shown unless logging is configured otherwise.)"""
    before, _spent[0] = _spent[0], _spent[0] + seconds
    if before <= LONG < _spent[0]:
        logger.warning(
            "upconv: compiling kernels for this GPU, a second or less each; CuPy keeps them for the next time"
        )


class Kernel:
    """One `extern "C" __global__` function of a source file, under given definitions."""

    def __init__(self, source: str, name: str, defines: tuple[tuple[str, Any], ...]) -> None:
        """source: a file of this folder. defines: what the preprocessor is told."""
        self.source, self.name, self.defines = source, name, defines
        self._functions: dict[tuple[int, int], Any] = {}  # by device and shared memory

    @property
    def options(self) -> tuple[str, ...]:
        """What NVRTC is told."""
        defines = tuple(f"-D{name}={value}" for name, value in self.defines)
        return (*OPTIONS, f"-DUPCONV_SOURCES={_sources()}", *defines)

    def __call__(self, grid: Grid, block: Grid, *arguments: Any, shared: int = 0) -> None:
        """Start it on the current stream: arrays become addresses, None a null pointer, NumPy scalars go by value.

        shared: bytes of dynamic shared memory.
        """
        xp: Any = cupy()
        key = xp.cuda.runtime.getDevice(), shared
        function = self._functions.get(key)
        if function is None:
            function = self._functions[key] = self._compiled(xp, shared)
        grid = grid if isinstance(grid, tuple) else (grid,)
        block = block if isinstance(block, tuple) else (block,)
        given = tuple(NULL if each is None else each for each in arguments)
        function(grid, block, given, shared_mem=shared)

    def _compiled(self, xp: Any, shared: int) -> Any:
        start = perf_counter()
        code = (FOLDER / self.source).read_text(encoding="utf-8")
        function = xp.RawModule(code=code, options=self.options).get_function(self.name)
        if shared > UNASKED:
            function.max_dynamic_shared_size_bytes = shared
        _took(perf_counter() - start)
        return function


@cache
def kernel(source: str, name: str, **defines: Any) -> Kernel:
    """The function `name` of `source`, compiled with -Dkey=value for each of `defines`; one object for one of these."""
    return Kernel(source, name, tuple(sorted(defines.items())))
