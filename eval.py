"""Evaluate a run or a product: the same as ``freebind eval``."""

from fb_jax.cli.main import main

if __name__ == "__main__":
    main("eval")
