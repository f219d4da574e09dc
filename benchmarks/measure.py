"""One case, checked and timed beside every peer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from upconv import kernels

from .cases import Call
from .peaks import Copy
from .results import OURS, Measurement
from .timing import interleaved

RANDOM = ("dropout", "dropout_input")  # every library drops other numbers


def measure(
    group: str,
    call: Call,
    peers: Sequence[Any],
    rounds: int,
    *,
    budget: float = float("inf"),
    copy: Copy | None = None,
) -> Measurement:
    """Check a call's results, then time it; an entrant whose result is wrong is not timed.

    budget: seconds after which no further round begins. copy: to be timed beside it.
    Raises AssertionError where upconv's own result is wrong.
    """
    ours = call.constant
    errors, wrong = {OURS: call.check(ours())}, []
    others: dict[str, Callable[[], Any]] = {}
    for peer in peers:
        for name, run in peer.candidates(call).items():
            try:
                if call.operator not in RANDOM:
                    errors[name] = call.check(run(), name)
                others[name] = run
            except AssertionError as error:
                wrong.append(str(error))
    del call.exact  # as large as all the rest
    times = interleaved([ours, *others.values(), *([copy] if copy else [])], rounds, budget=budget)
    explanation = ours.explanation
    return Measurement(
        group,
        call.operator,
        call.label,
        explanation.cost.flops,
        explanation.cost.bytes,
        explanation.variant,
        dict(zip([OURS, *others], times, strict=False)),
        errors,
        copy=copy.bytes / times[-1] if copy else None,
        wrong=wrong,
    )


def one_thread(run: Callable[[], Any]) -> Callable[[], Any]:
    """`run` with one thread."""

    def alone() -> Any:
        with kernels.num_threads(1):
            return run()

    return alone
