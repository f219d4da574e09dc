"""The CPU's kernels, compiled by Numba at first use."""
