"""Compute devices: CPU, CUDA, Vulkan and Metal behind one interface."""
