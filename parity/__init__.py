"""Compares our encoders with the authors' packages, in separate environments."""
