"""Which registers may hold subnormal numbers, where most instructions flush them (`.ftz`, as CuPy compiles kernels)."""

from __future__ import annotations

from functools import cache, lru_cache

from .ptx import Constant, Entry, Operand, Register, Vector

PASSING = ("mov", "selp", "slct")  # what may hand a subnormal number on


@cache
def _names(operand: Operand) -> tuple[str, ...]:
    """The registers of an operand."""
    if isinstance(operand, Vector):
        return tuple(name for item in operand.items for name in _names(item))
    return (operand.name,) if isinstance(operand, Register) else ()


@lru_cache(64)
def suspicious(entry: Entry) -> set[str]:
    """The registers that may hold subnormal numbers: where not all that is written to them has been flushed."""
    found: set[str] = set()
    passed: list[tuple[str, set[str]]] = []
    for at in entry.code:
        if not at.operands or "ftz" in at.parts or (at.parts[0] == "cvt" and at.parts[-1][0] != "f"):
            continue
        targets = _names(at.operands[0])
        constant = any(isinstance(each, Constant) and tiny(each) for each in at.operands[1:])
        if at.parts[0] in PASSING and len(targets) == 1 and not constant and not isinstance(at.operands[1], Vector):
            passed.append((targets[0], {name for each in at.operands[1:] for name in _names(each)}))
        else:
            found.update(targets)
    while more := {target for target, sources in passed if target not in found and sources & found}:
        found |= more
    return found


def tiny(constant: Constant) -> bool:
    """Whether its bits are those of a subnormal number."""
    return 0 < constant.bits & 0x7FFFFFFF < 0x00800000
