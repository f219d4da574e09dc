"""The frame every operator stands in: validate -> allocate -> choose -> run.

An operator is declared once, by a function whose body is its rule: it checks the arguments and returns a `Case`, the
call in normal form. `operator(...)` joins to that rule the reference (the definition, in float64), the base (the same
by library calls, for NumPy and CuPy), the variants (the kernels that can compute it, best first) and the gradients,
and returns the public function. Validation, allocation and
choice happen here and nowhere else, so a variant finds arrays that are already right:

- four-axis arrays in `Case.maps` are channels-last, the outputs are channels-last and share no memory with an input;
- sizes fit, indices are in range, dtypes agree, and there is something to write.

A variant is called as `run(outputs, *arguments, **parameters)`; the reference and the base, which return what it would
write, as `function(*arguments, **parameters)`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial, wraps
from math import prod
from typing import Any, ParamSpec

import numpy as np

from . import base as library
from . import layout
from .arguments import Arguments
from .case import Case
from .known import MOST, Known, known, likeness
from .layout import Array
from .namespace import elsewhere, is_array, on_device
from .sharing import layout_serves, may_share_memory, overlaps, same_memory

P = ParamSpec("P")


def never(*arguments: Any, **parameters: Any) -> str | None:
    """The refusal of a variant that serves every case."""
    return None


def nothing(*arguments: Any, **parameters: Any) -> str:
    """The description of a variant that has no more to say than its name."""
    return ""


@dataclass(frozen=True)
class Variant:
    """One way to compute an operator.

    run: computes it. It may give back how to do so again, a function (outputs, *arguments) for arrays of the same
    shapes and strides that plans nothing and keeps none of these; a call like this one will use it.
    refuses: why it cannot serve a case, None where it can; describe: what it would use for one; declines: why it leaves
    a case that it could serve to those after it unless it is asked for by name, None where it does not.
    device: whose arrays it takes, NumPy's ("cpu"), CuPy's ("cuda") or both ("any"). precision: that of its products.
    """

    name: str
    run: Callable[..., Callable[..., None] | None]
    refuses: Callable[..., str | None] = never
    describe: Callable[..., str] = nothing
    declines: Callable[..., str | None] = never
    device: str = "cpu"
    precision: str = "fp32"

    def cannot_serve(self, case: Case) -> str | None:
        """Why not, None where it can."""
        if self.precision != "fp32" == case.precision:
            return f"its products are {self.precision}, and the call asks for fp32"
        return self.refuses(*case.arguments, **case.parameters)

    def leaves(self, case: Case) -> str | None:
        """Why it leaves the case to others unless it is asked for, None where it does not."""
        return None if self.declines is never else self.declines(*case.arguments, **case.parameters)


@dataclass
class Op:
    """An operator: its rule, its definition, its kernels and its gradients.

    reference: the definition, in float64 NumPy. base: the same by the functions that NumPy and CuPy share, in the
    arrays' own dtype, for where no kernel serves.

    by_shape: neither the rule nor the choice of a variant looks at numbers in arrays.
    """

    name: str
    rule: Callable[..., Case]
    reference: Callable[..., Any]
    base: Callable[..., Any]
    variants: Sequence[Variant]
    gradients: dict[Any, Callable[..., Any]]  # argument name, or a tuple of them -> the operator of the gradients
    by_shape: bool = False
    known: dict[Any, Known] = field(default_factory=dict)  # calls by their likeness

    def choose(self, case: Case) -> Variant:
        """The variant asked for, or the first that neither refuses nor declines the case."""
        kernels, others = self.serving(case.device)
        if isinstance(case.algorithm, str) and case.algorithm == "auto":  # it is not checked yet
            for variant in kernels:
                if variant.cannot_serve(case) is None and variant.leaves(case) is None:
                    return variant
        available = {variant.name: variant for variant in (*kernels, *others)}
        name = Arguments(self.name).choice("algorithm", case.algorithm, ["auto", *available])
        variant = others[-1] if name == "auto" else available[name]
        reason = variant.cannot_serve(case)
        if reason is not None:
            raise ValueError(f"{self.name}: algorithm {case.algorithm!r} cannot serve this call: {reason}")
        return variant

    def serving(self, device: str) -> tuple[list[Variant], tuple[Variant, ...]]:
        """The kernels for a device, best first; and what needs none, the last of which runs where no kernel serves."""
        return [variant for variant in self.variants if variant.device == device], self._without_kernels[device]

    @cached_property
    def _without_kernels(self) -> dict[str, tuple[Variant, ...]]:
        base = Variant("base", partial(_assign, self.base), describe=_library, device="any")
        definition = Variant("reference", partial(_assign, self.reference), describe=_definition)
        return {"cpu": (base, definition), "cuda": (base,)}

    def prepare(self, *args: Any, **kwargs: Any) -> tuple[Case, Variant]:
        """Validate and choose."""
        case, variant, _ = self._remember(args, kwargs)
        return case, variant

    def _remember(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Case, Variant, Known | None]:
        """Validate and choose, unless that is known."""
        like = likeness(args, kwargs) if self.by_shape else None
        if like is not None:
            before = self.known.get(like)
            if before is not None:
                return before.renewed(args, kwargs), before.variant, before
        case, variant = self._prepare(*args, **kwargs)
        remembered = None if like is None else known(case, variant, args, kwargs)
        if remembered is not None:
            if len(self.known) >= MOST:
                self.known.clear()
            self.known[like] = remembered
        return case, variant, remembered

    def _prepare(self, *args: Any, **kwargs: Any) -> tuple[Case, Variant]:
        case = self.rule(*args, **kwargs)
        for output in case.outputs:
            if prod(output.shape) * output.dtype.itemsize >= 2**63:
                Arguments(self.name).fail(f"the result must have fewer than 2**63 bytes, got shape {output.given}")
        if case.out is not None:
            self._check_out(case)
        return case, self.choose(case)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Validate, allocate, choose, run; give back the output, or a tuple of several."""
        other = elsewhere(*args, *kwargs.values())
        if other is not None:
            with other:
                return self(*args, **kwargs)
        case, variant, remembered = self._remember(args, kwargs)
        if case.answer is not None:
            return case.answer
        arguments = list(case.arguments)
        for position in case.maps:
            arguments[position] = layout.channels_last(arguments[position])
        like = None if variant.device == "cpu" else next(each for each in arguments if is_array(each))
        results = [layout.empty(each.shape, each.dtype, like) for each in case.outputs]
        if case.out is not None:
            out = case.out.reshape(case.outputs[0].shape)  # a copy where it cannot be a view: no use then
            others = [a for a in arguments if not (case.elementwise and same_memory(out, a))]
            if layout_serves(out) and may_share_memory(out, case.out) and not any(overlaps(out, a) for a in others):
                results[0] = out
        for hook in trace:
            hook(self, variant, case, results)
        if any(result.size for result in results):
            if remembered is None or case.out is not None:  # which may lie anywhere
                variant.run(results, *arguments, **case.parameters)
            elif remembered.again is None:
                remembered.again = variant.run(results, *arguments, **case.parameters)
            else:
                remembered.again(results, *arguments)
        for position, (result, output) in enumerate(zip(results, case.outputs, strict=True)):
            if position == 0 and case.out is not None:
                if not may_share_memory(result, case.out):
                    layout.assign(case.out, result.reshape(output.given))
                results[0] = case.out
                continue
            if output.format == "contiguous" and result.ndim == 4:
                result = layout.contiguous(result)
            results[position] = result if output.final is None else result.reshape(output.final)
        return results[0] if len(results) == 1 else tuple(results)

    def _check_out(self, case: Case) -> None:
        check, expected = Arguments(self.name), case.outputs[0]
        kind = "CuPy" if case.device == "cuda" else "NumPy"
        if not is_array(case.out) or case.out.dtype != expected.dtype:
            got = getattr(case.out, "dtype", type(case.out).__name__)
            check.fail(f"out must be a {kind} array of {expected.dtype}, got {got}", TypeError)
        if on_device(case.out) != (case.device == "cuda"):
            check.fail(f"out must be a {kind} array like the arguments, got one of the other kind", TypeError)
        check.shape("out", case.out, expected.given)
        if not on_device(case.out) and not case.out.flags.writeable:
            check.fail("out must be writable, got a read-only array")


def _assign(function: Callable[..., Any], outputs: list[Array], *arguments: Any, **parameters: Any) -> None:
    """Run a function that returns what variants write."""
    with np.errstate(all="ignore"):  # what is not finite is the caller's, as in kernels
        values = function(*arguments, **parameters)
        for output, value in zip(outputs, values if isinstance(values, tuple) else (values,), strict=True):
            output[...] = value


def _definition(*arguments: Any, **parameters: Any) -> str:
    return "in float64 NumPy"


def _library(*arguments: Any, **parameters: Any) -> str:
    return f"by the functions of {'CuPy' if any(map(on_device, arguments)) else 'NumPy'}"


# Called with (op, variant, case, outputs) before a kernel runs: tests poison the outputs and record the variant here.
trace: list[Callable[[Op, Variant, Case, list[Array]], None]] = []

OPERATORS: dict[str, Op] = {}


def operator(
    *,
    reference: Callable[..., Any],
    base: Callable[..., Any] | None = None,
    variants: Sequence[Variant],
    gradients: dict[Any, Callable[..., Any]] | None = None,
    by_shape: bool = False,
) -> Callable[[Callable[P, Case]], Callable[P, Any]]:
    """Declare an operator by its rule: see the module's docstring.

    base: where it is not the function of `upconv.kernels.base` that has the operator's name.
    """

    def declare(rule: Callable[P, Case]) -> Callable[P, Any]:
        name = rule.__name__
        by_library = base or getattr(library, name)
        op = Op(name, rule, reference, by_library, variants, gradients or {}, by_shape)
        OPERATORS[op.name] = op
        rule.__annotations__.pop("return", None)  # for help(): a rule returns its Case, the operator arrays

        @wraps(rule)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return op(*args, **kwargs)

        call.op = op  # type: ignore[attr-defined]
        return call

    return declare
