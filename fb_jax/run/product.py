"""Products: what a config names. A product is a space, so one may be the unified space of the next.

A YAML file says from what, by which bond and at which factors; its name is the product's:

    unified: internvl_ib                  # a native space, or another product
    bond: combination
    experts: [clap_music, clap_general]
    factors: versatile                    # a preset, or modality to weight
    dim: 192                              # of a direct sum: what it is cut to,
    fill: 0.05                            #   and the squared norm of a filled-in part

or that a modality of another product comes from an encoder that was tuned into it:

    unified: internvl_ib
    tuned: {audio: imagebind_tuned}       # modality to the space that holds its rows
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fb_jax.banks import require_name
from fb_jax.errors import FreeBindError, unknown
from fb_jax.fusion import Factors
from fb_jax.projector import DIRECTIONS, BondKind

HOME = Path(__file__).parents[1] / "products"
"""The products that come with the package; ``configs/products`` of the repository."""


@dataclass(frozen=True)
class Product:
    """How a fused space is made.

    Attributes:
        name: Of the product.
        unified: Name of its unified space, if that is a native one or, with ``base``, the base's.
        bond: With each of the experts; None if a modality is tuned.
        experts: Native spaces.
        factors: A preset's name, or modality to the weight of the experts.
        dim: What a direct sum is cut to; None keeps all.
        fill: Squared norm of its filled-in parts; None takes the default of ``FusedSpace``.
        tuned: Modality to the native space whose rows it is.
        base: The product that is its unified space.
    """

    name: str
    unified: str
    bond: BondKind | None = None
    experts: tuple[str, ...] = ()
    factors: str | Factors = ""
    dim: int | None = None
    fill: float | None = None
    tuned: Mapping[str, str] = field(default_factory=dict)
    base: Product | None = None

    @property
    def stages(self) -> tuple[Product, ...]:
        """The products that this one is built from, the first one first, and this one."""
        return (*(self.base.stages if self.base else ()), self)

    @property
    def natives(self) -> tuple[str, ...]:
        """The native spaces of all stages; those of tuned encoders are made on the way."""
        experts = [expert for stage in self.stages for expert in stage.experts]
        return (self.stages[0].unified, *dict.fromkeys(experts))

    def to_dict(self) -> dict[str, Any]:
        """Return what its file says, as plain types."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in ("name", "base") and value not in (None, (), {}, "")
        }


OPTIONS: Mapping[str, tuple[type, ...]] = {
    "unified": (str,),
    "bond": (str,),
    "experts": (list,),
    "factors": (str, dict),
    "dim": (int,),
    "fill": (float, int),
    "tuned": (dict,),
}


def products(folder: Path = HOME) -> dict[str, Path]:
    """Return the files of the products in a folder, by name."""
    return {path.stem: path for path in sorted(folder.glob("*.y*ml"))}


def read_product(product: str) -> Product:
    """Read a product.

    Args:
        product: Name of one that comes with the package, or path of a YAML file. What it names as
            unified space is looked for beside that file first.

    Raises:
        FreeBindError: There is none, its name cannot name a space, its file says something else,
            or it is built on itself.
    """
    if not product.endswith((".yaml", ".yml")):
        known = products()
        if product not in known:
            raise unknown("product", product, known, "give its file, my_product.yaml")
        return _read(known[product], ())
    return _read(Path(product), ())


def _read(path: Path, above: tuple[Path, ...]) -> Product:
    require_name("product", path.stem)
    if path.resolve() in above:
        raise FreeBindError("a product is built on itself", where=path)
    options = _options(path)
    base = (products() | products(path.parent)).get(options["unified"])
    made = Product(
        path.stem, **options, base=_read(base, (*above, path.resolve())) if base else None
    )
    _require_one_kind(made, path)
    return made


def _options(path: Path) -> dict[str, Any]:
    """Return what a file says, each option of its type."""
    try:
        options = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise FreeBindError("a product cannot be read", where=path, got=error) from error
    if not isinstance(options, dict) or "unified" not in options:
        raise FreeBindError(
            "this file tells of no product",
            where=path,
            expected=f"options by name: {', '.join(OPTIONS)}; unified must be there",
            got=list(options) if isinstance(options, dict) else type(options).__name__,
        )
    for name, value in options.items():
        if name not in OPTIONS:
            raise unknown("option of a product", str(name), OPTIONS, path)
        if not isinstance(value, OPTIONS[name]) or isinstance(value, bool):
            raise FreeBindError(
                "an option of a product has the wrong form",
                where=f"{path}: {name}",
                expected=" or ".join(kind.__name__ for kind in OPTIONS[name]),
                got=value,
            )
    if options.get("bond", "combination") not in DIRECTIONS:
        raise unknown("bond", options["bond"], DIRECTIONS, path)
    if isinstance(factors := options.get("factors"), dict):
        options["factors"] = {str(m): _weight(weight, m, path) for m, weight in factors.items()}
    return {**options, "experts": tuple(map(str, options.get("experts", ())))}


def _weight(weight: object, modality: object, path: Path) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise FreeBindError(
            "a factor is a weight", where=f"{path}: {modality}", expected="0 to 1", got=weight
        )
    return float(weight)


def _require_one_kind(made: Product, path: Path) -> None:
    """Raise a FreeBindError unless a product has bonds with experts, or a tuned modality."""
    said = set(made.to_dict()) - {"unified"}
    bonded = {"bond", "experts", "factors"} <= said and "tuned" not in said
    if not bonded and (said != {"tuned"} or made.base is None):
        raise FreeBindError(
            "this file tells of no product",
            where=path,
            expected="bond, experts and factors; or tuned, of a product",
            got=", ".join(made.to_dict()),
        )
    if made.bond == "displacement" and len(made.experts) > 1:
        raise FreeBindError(
            "a displacement goes into one expert",
            where=path,
            got=", ".join(made.experts),
            fix="make a product of the first, and another that has it as its unified space",
        )
