"""What PyTorch has no operation for: kernels in Triton for a GPU, each beside its twin in plain PyTorch."""
