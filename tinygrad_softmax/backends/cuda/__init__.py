"""The CUDA kernels: sources (*.cu), their loader, and the shapes they are launched in.

common.cuh is put in front of every source. docs/cuda-kernels.md says how a kernel is
written, launched and tested.
"""
