"""``freebind``: banks in and out, fused spaces, searching."""

from __future__ import annotations

from tyro.extras import SubcommandApp

from fb_jax.cli.bank import bank
from fb_jax.cli.released import released
from fb_jax.cli.space import export_space
from fb_jax.cli.use import fuse, search
from fb_jax.console import run_command

app = SubcommandApp()
app.command(bank, name="bank", help="Make, check and describe banks.")
app.command(export_space)
app.command(released, name="released", help="The authors' checkpoints, in and out.")
app.command(fuse)
app.command(search)


def main() -> None:
    """Run the command."""
    run_command(lambda: app.cli(prog="freebind"))
