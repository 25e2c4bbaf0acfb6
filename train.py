"""Train a bond: ``python train.py --bond combination --expert clap_general --data BANK_ROOT``."""

from fb_jax.cli.train import main

if __name__ == "__main__":
    main()
