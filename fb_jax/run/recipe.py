"""Recipes of products. A product is a space, so it can be the unified space of the next one.

A YAML file names the spaces, the bond and the factors; its file name is the product's name:

    unified: internvl_ib                  # a native space, or another product
    bond: combination
    experts: [clap_music, clap_general]
    factors: versatile                    # a preset, or modality to weight
    dim: 192                              # of a direct sum: dimensions that are kept, or unified:
                                          #   as many as the unified space has, less one
    fill: 0.05                            #   and the squared norm of a filled-in part
    hubs: chosen                          # or off: hub correction, chosen on validation pairs
    router: auto                          # or [audio]: weights by the item, where they pay
    router_shape: omnibind                #   layers of the router; by default --routing.shape
    unit_experts: false                   # of combinations: means of projections as they are
    retrieval: nearest                    # how pseudo pairs are retrieved, as --pairs.method

or it takes a modality of another product from an encoder that was tuned into it:

    unified: internvl_ib
    tuned: {audio: imagebind_tuned}       # modality to the space with its rows
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from fb_jax import files
from fb_jax.banks import require_name
from fb_jax.errors import FreeBindError, unknown
from fb_jax.fusion import Factors
from fb_jax.projector import DIRECTIONS, BondKind
from fb_jax.run.choosing import Hubs
from fb_jax.run.routing_choice import Asked

HOME = Path(__file__).parents[1] / "products"
"""The products that come with the package; ``configs/products`` of the repository."""

Dim = int | Literal["unified"]
"""A number of dimensions, or that of the native unified space."""


@dataclass(frozen=True)
class Product:
    """How a fused space is built.

    Attributes:
        name: Name of the product.
        unified: Name of its unified space: a native space, or the base.
        bond: The bond with each of the experts; None if a modality is tuned.
        experts: Native spaces.
        factors: A preset's name, or modality to the weight of the experts. Without them, a stage
            that builds on this one takes the chosen factors.
        dim: Dimensions to which a direct sum is cut; None keeps all. "unified": those of the native
            unified space, less one for the column that evens out norms in a hub correction.
        fill: Squared norm of its filled-in parts; None takes the default.
        hubs: Whether a hub correction is chosen; None leaves it to the options of the run.
        router: Modalities with a router; auto: those where it pays. Empty: none.
        router_shape: Layers of the routers; "" leaves it to the options of the run.
        unit_experts: See ``fb_jax.fusion.WeightedSum``; None: True.
        retrieval: Method of ``Retrieval``; "" leaves it to the options of the run.
        tuned: Modality to the native space with its rows.
        base: The product that is its unified space.
    """

    name: str
    unified: str
    bond: BondKind | None = None
    experts: tuple[str, ...] = ()
    factors: str | Factors = ""
    dim: Dim | None = None
    fill: float | None = None
    hubs: Hubs | None = None
    router: Asked = ()
    router_shape: str = ""
    unit_experts: bool | None = None
    retrieval: str = ""
    tuned: Mapping[str, str] = field(default_factory=dict)
    base: Product | None = None

    @property
    def stages(self) -> tuple[Product, ...]:
        """The products that this one is built on, the first one first, and this one."""
        return (*(self.base.stages if self.base else ()), self)

    @property
    def natives(self) -> tuple[str, ...]:
        """The native spaces of all stages, without those of tuned encoders."""
        experts = [expert for stage in self.stages for expert in stage.experts]
        return (self.stages[0].unified, *dict.fromkeys(experts))

    @property
    def builds_on_chosen(self) -> bool:
        """Whether a later stage takes the factors that were chosen for this one.

        It does not if the recipe has factors; a tuned stage has those of its base [P].
        """
        return not (self.factors or self.tuned)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of its file, as plain types."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in ("name", "base") and value not in (None, (), {}, "")
        }


@dataclass(frozen=True)
class _File:
    """What a product file may hold."""

    unified: str
    bond: BondKind | None = None
    experts: tuple[str, ...] = ()
    factors: str | dict[str, float] = ""  # the stage checks the ranges, and names the modality
    dim: Dim | None = None
    fill: float | None = None
    hubs: Hubs | None = None
    router: Asked = ()
    router_shape: str = ""
    unit_experts: bool | None = None
    retrieval: str = ""
    tuned: dict[str, str] = field(default_factory=dict)


OPTIONS = tuple(part.name for part in fields(_File))


def products(folder: Path = HOME) -> dict[str, Path]:
    """Return the files of the products in a folder, by name."""
    return {path.stem: path for path in sorted(folder.glob("*.y*ml"))}


def read_product(product: str) -> Product:
    """Read a product.

    Args:
        product: Name of one that comes with the package, or path of a YAML file. Its unified space
            is looked for beside that file first.

    Raises:
        FreeBindError: There is none, its name cannot name a space, its file is not a product file,
            or it is built on itself.
    """
    if not product.endswith((".yaml", ".yml")):
        known = products()
        if product not in known:
            raise unknown("product", product, known, hint="or give a file, my_product.yaml")
        return _read(known[product], ())
    return _read(Path(product), ())


def _read(path: Path, above: tuple[Path, ...]) -> Product:
    require_name("product", path.stem)
    if path.resolve() in above:
        raise FreeBindError("a product is built on itself", where=path)
    options = _options(path)
    base = (products() | products(path.parent)).get(options["unified"])
    product = Product(
        path.stem, **options, base=_read(base, (*above, path.resolve())) if base else None
    )
    _require_one_kind(product, path)
    return product


def _options(path: Path) -> dict[str, Any]:
    """Return the options of a file, each of its type."""
    options = files.read_yaml(path, "a product file")
    if "unified" not in options:
        raise FreeBindError(
            "not a product file",
            where=path,
            expected=f"options by name: {', '.join(OPTIONS)}; unified must be there",
            got=list(options),
        )
    for name in options:
        if name not in OPTIONS:
            raise unknown("option of a product", name, OPTIONS, path)
    if isinstance(bond := options.get("bond", ""), str) and bond and bond not in DIRECTIONS:
        raise unknown("bond", bond, DIRECTIONS, path)
    what = "an option of a product has the wrong type"
    return vars(files.convert(options, _File, path, what))


def _require_one_kind(product: Product, path: Path) -> None:
    """Raise a FreeBindError unless a product has bonds with experts, or a tuned modality."""
    given = set(product.to_dict()) - {"unified"}
    bonded = {"bond", "experts"} <= given and "tuned" not in given
    if not bonded and (given != {"tuned"} or product.base is None):
        raise FreeBindError(
            "not a product file",
            where=path,
            expected="bond and experts; or tuned, on a product",
            got=", ".join(product.to_dict()),
        )
    if product.bond == "displacement" and len(product.experts) > 1:
        raise FreeBindError(
            "a displacement goes into one expert",
            where=path,
            got=", ".join(product.experts),
            fix="make a product with the first, and another that has it as its unified space",
        )
