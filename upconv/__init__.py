"""Dense prediction without a framework: kernels (`upconv.kernels`) and a thin neural-network layer (`upconv.nn`)."""

from importlib.metadata import version as _version

__version__ = _version("upconv")
