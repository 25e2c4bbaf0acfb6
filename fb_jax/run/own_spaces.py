"""The product ``one`` of other spaces than the package's: all that the data have, by its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fb_jax.errors import FreeBindError, notice_once, unknown
from fb_jax.pseudo.plans import anchor_of
from fb_jax.run.naming import experts_of, native_spaces, unified_of
from fb_jax.run.options import RunConfig
from fb_jax.run.recipe import Product, read_product

ONE = "one"


def product_of(config: RunConfig) -> Product:
    """Return the product that a run makes.

    ``one`` has its file's spaces if the pool has them all and ``config.unified`` is None; a notice
    names other experts. Else its unified space is that of a run without a product, and its experts
    are all spaces with two or more of its modalities and no others. Experts that have the same ones
    are a stage, with one weight for each modality. Those with the anchor come first, as InternVL
    does in the file [O]: the last stage has the routers, and these pay for audio.

    Raises:
        FreeBindError: See ``read_product``; or no space can be the unified one or an expert.
    """
    product = read_product(str(config.product))
    if config.product != ONE:
        return product
    spaces = native_spaces(config)
    if config.unified is None and spaces.keys() >= set(product.natives):
        _say_what_is_left_out(product, spaces)
        return product
    if (unified := unified_of(config, spaces)) not in spaces:
        raise unknown("native space", unified, spaces, "--unified")
    anchor = config.pairs.anchor or anchor_of(spaces[unified])
    stages = _stages(_fitting(unified, spaces), anchor)
    if not stages:
        raise FreeBindError(
            f"no space has two or more modalities of {unified}, and no others",
            where=config.data / config.pool,
            got="; ".join(f"{n} ({', '.join(sorted(ms))})" for n, ms in spaces.items()),
            fix="import rows of an expert: freebind bank import",
        )
    beside = "; then ".join(", ".join(experts) for experts in stages)
    notice_once(f"{ONE}: {unified}, and beside it {beside} (another unified space: --unified)")
    return _cast(product, unified, stages)


def _fitting(unified: str, spaces: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    """Return the experts of a direct sum, which cannot bring a modality, and what each has."""
    experts = experts_of(unified, spaces)
    for name in experts:
        if more := sorted(spaces[name] - spaces[unified]):
            notice_once(f"{ONE}: without {name}: {unified} has no {', '.join(more)}")
    return {name: has for name, has in experts.items() if has == spaces[name]}


def _say_what_is_left_out(product: Product, spaces: Mapping[str, set[str]]) -> None:
    unified = product.natives[0]
    if others := [n for n in experts_of(unified, spaces) if n not in product.natives]:
        notice_once(f"{ONE}: without {', '.join(others)} (with all spaces: --unified {unified})")


def _stages(experts: Mapping[str, frozenset[str]], anchor: str) -> list[tuple[str, ...]]:
    """Return the experts of each stage, by name, from what each shares with the unified space."""
    order = sorted(set(experts.values()), key=lambda both: (anchor not in both, sorted(both)))
    return [tuple(name for name in experts if experts[name] == both) for both in order]


def _cast(product: Product, unified: str, stages: list[tuple[str, ...]]) -> Product:
    """Return the product with other spaces; what is cut, routed and corrected is the last stage."""
    base, name = None, unified
    for experts in stages[:-1]:
        base = Product("_".join((name, *experts)) + "_sum", name, product.bond, experts, base=base)
        name = base.name
    return replace(product, unified=name, experts=stages[-1], base=base)
