"""Copy the banks of a world into the package: ``--data class_world``.

python -m examples.class_world.ship --world build/class_world/seed-0
"""

from __future__ import annotations

from examples.class_world.targets import TARGETS
from examples.word_world import ship

SYMBOLS = ship.Shipment(
    "class_world",
    "embeddings of symbols drawn, named and described, by small encoders",
    TARGETS,
    4_950_000,
)

if __name__ == "__main__":
    ship.main(SYMBOLS)
