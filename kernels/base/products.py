"""Products of matrices, which CuPy hands to cuBLAS."""

from typing import Any

from ..cuda.product import product
from ..namespace import captured, namespace


def matmul(a: Any, b: Any) -> Any:
    """a b, of matrices or of stacks of them: by a kernel where CuPy refuses, in a stream that is captured."""
    if not captured(a):
        return namespace(a).matmul(a, b)
    return product(a, b) if a.ndim == 3 else product(a[None], b[None])[0]
