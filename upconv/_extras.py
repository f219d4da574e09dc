"""Optional packages: imported when first needed, and named with the extra that installs them when missing."""

from importlib import import_module
from types import ModuleType


def require(module: str, *, extra: str) -> ModuleType:
    """Import `module`, or raise ImportError saying which extra of upconv installs it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f"this needs {package}, which is not installed: pip install 'upconv[{extra}]'") from error
