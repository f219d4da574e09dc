"""Arithmetic of floating numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .arithmetic import simple, ufunc
from .batch import Batch
from .ptx import Instruction, Register
from .rounding import (
    any_subnormal,
    directed64,
    flush,
    fma32,
    fma64,
    odd_sum,
    rounded_once,
    to_float32,
    two_product,
    two_sum,
)
from .steps import Lanes, Step, Where, instruction

MODES = ("rn", "rz", "rm", "rp")


def mode_of(at: Instruction) -> str:
    """How it rounds."""
    return next((part for part in at.parts if part in MODES), "rn")


def smaller(first: Any, second: Any) -> Any:
    """The smaller number, not NaN if one is none; -0 is less than +0."""
    return _chosen(np.fmin(first, second), first, second, np.bitwise_or)


def larger(first: Any, second: Any) -> Any:
    """The larger number, not NaN if one is none; -0 is less than +0."""
    return _chosen(np.fmax(first, second), first, second, np.bitwise_and)


def _chosen(result: Any, first: Any, second: Any, signs: Any) -> Any:
    bits = np.dtype(f"u{result.dtype.itemsize}")
    both = signs(np.asarray(first).view(bits), np.asarray(second).view(bits)).view(result.dtype)
    return np.where((first == second) & (first == 0), both, result)


def product_sum(first: Any, second: Any, third: Any, kind: str, mode: str) -> Any:
    """An fma of either width."""
    if kind == "f32":
        return fma32(first, second, third, mode)
    if mode == "rn":
        return fma64(first, second, third)
    product, lost = two_product(np.float64(first), np.float64(second))
    total, error = two_sum(product, third)
    near, rest = two_sum(total, error + lost)
    return directed64(near, rest, mode)


def rounded(name: str, kind: str, mode: str) -> Any:
    """add, sub, mul, div of a directed rounding."""

    def compute(first: Any, second: Any) -> Any:
        wide = np.float64(first), np.float64(second)
        if kind == "f32":
            if name == "div":
                exact = wide[0] / wide[1]
                rest = -fma64(exact, wide[1], -wide[0]) / wide[1]
                return to_float32(odd_sum(exact, rest), mode)
            if name == "mul":
                return to_float32(wide[0] * wide[1], mode)
            return to_float32(odd_sum(wide[0], -wide[1] if name == "sub" else wide[1]), mode)
        if name == "div":
            near = wide[0] / wide[1]
            return directed64(near, -fma64(near, wide[1], -wide[0]) / wide[1], mode)
        if name == "mul":
            return directed64(*two_product(*wide), mode)
        return directed64(*two_sum(wide[0], -wide[1] if name == "sub" else wide[1]), mode)

    return compute


def float_operation(batch: Batch, at: Instruction) -> Step:
    """add, sub, mul, mad, fma, div, min, max, abs, neg."""
    name, kind, mode = at.parts[0], at.parts[-1], mode_of(at)
    if kind not in ("f32", "f64"):
        raise batch.unknown(at)
    function: Any
    if name in ("min", "max"):
        if "xorsign" in at.parts or len(at.operands) > 3:
            raise batch.unknown(at)
        quiet = {"min": np.minimum, "max": np.maximum} if "NaN" in at.parts else {"min": smaller, "max": larger}
        return finish(batch, at, quiet[name])
    if name in ("fma", "mad"):
        if kind == "f32" and mode == "rn" and "sat" not in at.parts:
            fast = fast_fma(batch, at)
            return flushing(batch, at, fast, fma32, batch.target(at.operands[0], kind)) if "ftz" in at.parts else fast
        return finish(batch, at, lambda a, b, c: product_sum(a, b, c, kind, mode))
    functions = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "abs": np.abs}
    function = (functions | {"neg": np.negative})[name]
    if mode != "rn":
        function = rounded(name, kind, mode)
    return finish(batch, at, function)


def fast_fma(batch: Batch, at: Instruction) -> Step:
    """fma32 without arrays of its own: nothing runs as often."""
    target = batch.target(at.operands[0], "f32")
    first, second, third = (batch.read(operand, "f32") for operand in at.operands[1:])
    if not isinstance(at.operands[1], Register) and not isinstance(at.operands[2], Register):
        return simple(batch, at, fma32, "f32")
    room, bits = batch.scratch(np.float64), batch.scratch(np.uint64, 1)
    halves = batch.scratch(np.bool_)

    def step(where: Where, _: Lanes) -> None:
        np.multiply(first, second, out=room, dtype=np.float64)
        np.add(room, third, out=room)
        np.bitwise_and(room.view(np.uint64), np.uint64((1 << 29) - 1), out=bits)
        np.equal(bits, np.uint64(1 << 28), out=halves)
        again = rounded_once(halves, first, second, third) if halves.any() else None
        np.copyto(target, room, where=where, casting="same_kind")
        if again is not None:
            target[halves & where] = again if where is True else again[where[halves]]

    return step


def flushing(
    batch: Batch, at: Instruction, fast: Callable[[Where, Lanes], None], slow: Callable[..., Any], target: Any
) -> Step:
    """A step of an instruction with .ftz: `fast` without it, `slow` as a function of flushed sources."""
    sources = [batch.read(operand, "f32") for operand in at.operands[1:]]
    doubtful = [source for source, operand in zip(sources, at.operands[1:], strict=True)
                if not isinstance(operand, Register) or operand.name in batch.suspicious]  # fmt: skip
    doubtful = [source for source in doubtful if np.ndim(source) or any_subnormal(source)]

    def step(where: Where, lanes: Lanes) -> None:
        if any(map(any_subnormal, doubtful)):
            np.copyto(target, slow(*map(flush, sources)), where=where)
        else:
            fast(where, lanes)
        if any_subnormal(target):
            np.copyto(target, flush(target), where=where)

    return step


def finish(batch: Batch, at: Instruction, function: Any) -> Step:
    """A step with the flushing and saturation that the instruction asks for."""
    kind = at.parts[-1]
    flushes = "ftz" in at.parts and kind == "f32"  # rcp.approx.ftz.f64: float64 has no subnormals worth a step
    if "sat" in at.parts:

        def whole(*sources: Any) -> Any:
            result = function(*(flush(source) if flushes else source for source in sources))
            return saturated(flush(result) if flushes else result)

        return simple(batch, at, whole, kind)
    plain = ufunc(batch, at, function, kind) if isinstance(function, np.ufunc) else simple(batch, at, function, kind)
    return flushing(batch, at, plain, function, batch.target(at.operands[0], kind)) if flushes else plain


def saturated(values: Any) -> Any:
    """Cut to [0, 1]; NaN becomes 0."""
    return np.where(np.isnan(values), values.dtype.type(0), np.clip(values, 0, 1) + values.dtype.type(0))


def wide(function: Any) -> Any:
    """A function of float32 numbers that is computed in float64: nearer than a device's `.approx`."""
    return lambda values: function(np.asarray(values).astype(np.float64)).astype(np.float32)


APPROXIMATE: dict[str, Any] = {
    "rcp": lambda values: 1 / values,
    "rsqrt": lambda values: 1 / np.sqrt(values),
    "sqrt": np.sqrt,
    "ex2": np.exp2,
    "lg2": np.log2,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
}


@instruction(*APPROXIMATE)
def special(batch: Batch, at: Instruction) -> Step:
    """rcp, rsqrt, sqrt, ex2, lg2, sin, cos, tanh."""
    name, kind, mode = at.parts[0], at.parts[-1], mode_of(at)
    if kind not in ("f32", "f64"):
        raise batch.unknown(at)
    function = APPROXIMATE[name]
    if kind == "f32" and name == "rcp" and mode != "rn":
        return finish(batch, at, lambda values: rounded("div", "f32", mode)(np.float32(1), values))
    if mode != "rn":
        raise batch.unknown(at)
    return finish(batch, at, wide(function) if kind == "f32" else function)


@instruction("copysign")
def copy_sign(batch: Batch, at: Instruction) -> Step:
    """copysign d, a, b: the size of b, the sign of a."""
    return simple(batch, at, lambda sign, size: np.copysign(size, sign), at.parts[-1])


@instruction("testp")
def test(batch: Batch, at: Instruction) -> Step:
    """testp.finite, infinite, number, notanumber, normal, subnormal."""
    kind = at.parts[-1]
    tiny = {"f32": 2.0**-126, "f64": 2.0**-1022}[kind]
    tests: dict[str, Any] = {
        "finite": np.isfinite,
        "infinite": np.isinf,
        "number": lambda values: ~np.isnan(values),
        "notanumber": np.isnan,
        "normal": lambda values: np.isfinite(values) & (np.abs(values) >= tiny),
        "subnormal": lambda values: (values != 0) & (np.abs(values) < tiny),
    }
    return simple(batch, at, tests[at.parts[1]], kind, "pred")
