"""Line integrals: devices, kernels, the DRR renderer and its reference."""
