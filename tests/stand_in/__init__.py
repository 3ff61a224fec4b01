"""A stand-in for an NVIDIA driver: slangpy, Slang and NVRTC are real, the GPU is the host."""
