"""Frozen encoders: from media files and captions to banks, once. PyTorch and NumPy, no JAX."""
