"""Evaluate a run: ``python eval.py --run FOLDER``, at any factors: ``--sigma-audio 0.3``."""

from fb_jax.cli.evaluate import main

if __name__ == "__main__":
    main()
