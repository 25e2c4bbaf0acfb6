"""Train a bond or a product: the same as ``freebind train``."""

from fb_jax.cli.main import main

if __name__ == "__main__":
    main("train")
