"""The kernels of NVIDIA GPUs: CUDA C++ in this folder (`*.cu`, `*.cuh`), and for each family what starts them.

Arguments are CuPy arrays that `op.py` has made right: maps are channels-last, sizes fit. Nothing here imports CuPy or
compiles anything before a kernel is started.
"""
