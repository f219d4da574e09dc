"""Compiling and starting CUDA kernels: NVRTC through CuPy's `RawModule`, at first use, kept on disk by CuPy."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from ..namespace import cupy

FOLDER = Path(__file__).parent
OPTIONS = ("-std=c++17", f"-I{FOLDER}")

Grid = int | tuple[int, ...]


@cache
def _sources() -> str:
    """A digest of all sources: CuPy keys machine code by the text of one file and the options, not by its headers."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.glob("*.cu*")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Kernel:
    """One `extern "C" __global__` function of a source file, under given definitions."""

    def __init__(self, source: str, name: str, defines: tuple[tuple[str, Any], ...]) -> None:
        """source: a file of this folder. defines: what the preprocessor is told."""
        self.source, self.name, self.defines = source, name, defines
        self._functions: dict[int, Any] = {}  # by device

    @property
    def options(self) -> tuple[str, ...]:
        """What NVRTC is told."""
        defines = tuple(f"-D{name}={value}" for name, value in self.defines)
        return (*OPTIONS, f"-DUPCONV_SOURCES={_sources()}", *defines)

    def __call__(self, grid: Grid, block: Grid, *arguments: Any, shared: int = 0) -> None:
        """Start it on the current stream: arrays become their addresses, NumPy scalars go by value.

        shared: bytes of dynamic shared memory.
        """
        module: Any = cupy()
        device = module.cuda.runtime.getDevice()
        function = self._functions.get(device)
        if function is None:
            code = (FOLDER / self.source).read_text(encoding="utf-8")
            function = module.RawModule(code=code, options=self.options).get_function(self.name)
            if shared > 48 * 1024:
                function.max_dynamic_shared_size_bytes = shared
            self._functions[device] = function
        grid = grid if isinstance(grid, tuple) else (grid,)
        block = block if isinstance(block, tuple) else (block,)
        function(grid, block, arguments, shared_mem=shared)


@cache
def kernel(source: str, name: str, **defines: Any) -> Kernel:
    """The function `name` of `source`, compiled with -Dkey=value for each of `defines`; one object for one of these."""
    return Kernel(source, name, tuple(sorted(defines.items())))
