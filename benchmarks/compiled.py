"""Times ``torch.compile`` on blocks of ImageBind's vision tower: ``benchmarks/compiled.py``.

The two take turns; the medians are compared, and the rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import torch
import tyro
from torch import Tensor

from encoders_torch.imagebind.sizes import HUGE
from encoders_torch.imagebind.towers import Trunk

PATCHES = 257


@dataclass(frozen=True)
class Sizes:
    blocks: int = 4
    batch: int = 4
    threads: int = 1
    rounds: int = 9


def timed(call: Callable[[], Tensor]) -> tuple[float, Tensor]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


@torch.inference_mode()
def main() -> None:
    sizes = tyro.cli(Sizes)
    torch.manual_seed(0)
    torch.set_num_threads(sizes.threads)
    trunk = Trunk(replace(HUGE["vision"], depth=sizes.blocks)).eval()
    for parameter in trunk.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    tokens = torch.randn(sizes.batch, PATCHES, HUGE["vision"].width)
    compiled = torch.compile(trunk)
    first, rows = timed(lambda: compiled(tokens, None).mean(1))
    apart = (rows - trunk(tokens, None).mean(1)).abs().max() / rows.norm(dim=1).max()
    pairs = [
        (timed(lambda: trunk(tokens, None))[0], timed(lambda: compiled(tokens, None))[0])
        for _ in range(sizes.rounds)
    ]
    speed = median(plain / fast for plain, fast in pairs)
    print(f"compiled in {first:.0f} s, {speed:.2f} times as fast; unit rows {apart:.1e} apart")


if __name__ == "__main__":
    main()
