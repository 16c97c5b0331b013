"""Pure functions on tensors: Fourier transforms of kernels, blur and its adjoint, resampling."""
