"""Optional packages: imported when first needed, and named with the extra that installs them when missing."""

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType


def require(module: str, *, extra: str | Sequence[str]) -> ModuleType:
    """Import `module`, or raise ImportError saying which extra of upconv, or which of several, installs it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        extras = [extra] if isinstance(extra, str) else extra
        command = " or ".join(f"'upconv[{each}]'" for each in extras)
        raise ImportError(f"this needs {package}, which is not installed: pip install {command}") from error
