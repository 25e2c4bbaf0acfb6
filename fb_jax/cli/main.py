"""``freebind``: banks in and out, fusing, searching."""

from __future__ import annotations

from tyro.extras import SubcommandApp

from fb_jax.cli.bank import bank
from fb_jax.cli.use import fuse, search
from fb_jax.console import run_command

app = SubcommandApp()
app.command(bank, name="bank", help="Make, check and describe banks.")
app.command(fuse)
app.command(search)


def main() -> None:
    """Run the command."""
    run_command(lambda: app.cli(prog="freebind"))
