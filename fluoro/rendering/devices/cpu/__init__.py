"""The CPU device: Slang kernels compiled to C++ and run on worker threads."""
