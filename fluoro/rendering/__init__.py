"""Line integrals: device choice, kernels, the DRR renderer and its reference."""
