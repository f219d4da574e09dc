"""What instructions become: steps over the threads that take part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .ptx import Instruction

WARP = 32
KINDS: dict[str, Any] = {"pred": np.bool_, "f32": np.float32, "f64": np.float64, "f16": np.float16}
KINDS |= {f"{letter}{bits}": np.dtype(f"{'i' if letter == 's' else 'u'}{bits // 8}").type
          for letter in "bus" for bits in (8, 16, 32, 64)}  # fmt: skip

Lanes = np.ndarray | None  # the threads that take part; None: all
Where = Any  # the same for ufuncs: True, or a mask
Step = Callable[[Where, Lanes], None]
builders: dict[str, Callable[[Any, Instruction], Step]] = {}


def instruction(*names: str) -> Callable[[Any], Any]:
    """What makes a step of the instructions that begin with one of these names."""

    def register(build: Callable[[Any, Instruction], Step]) -> Callable[[Any, Instruction], Step]:
        builders.update(dict.fromkeys(names, build))
        return build

    return register


def spread(value: Any, lanes: Lanes, count: int) -> np.ndarray:
    """A source for the threads that take part."""
    if np.ndim(value) == 0:
        return np.full(count if lanes is None else len(lanes), value)
    return value if lanes is None else value[lanes]
