"""Frozen encoders: from media files and captions to banks, once. PyTorch and NumPy, no JAX."""

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "encoders_torch needs torch: make encoders, or pip install -e '.[encoders]'"
    ) from error
