"""The claims of the paper that words can test, and their verdicts on the results of all seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from examples.word_world.results import unpack
from fb_jax.evaluation import Interval, paired_bootstrap
from fb_jax.projector import subset_name, subsets

Result = Mapping[str, Any]
"""A seed's ``metrics.json``."""

AT, AI, IT = "audio-text", "audio-image", "image-text"


@dataclass(frozen=True)
class Claim:
    """One model is better than others, by R@1 of a pair of modalities.

    Attributes:
        says: The claim.
        paper: The paper's figures, and where they are.
        pair: The pair of modalities.
        model: The model that should be better.
        against: The models that it should beat, each of them.
        margin: Points by which it should beat them; negative: points that it may lose.
    """

    says: str
    paper: str
    pair: str
    model: str
    against: tuple[str, ...]
    margin: float = 0.0


VERSATILE, EXPERTISE = "imagebind_pp, versatile", "imagebind_pp, at_expertise"
GENERAL, MUSIC = "imagebind + clap_general", "imagebind + clap_music"
DISPLACED, COMBINED = "internvl_ib, it_expertise", "imagebind + internvl, it_expertise"
CLAPS = ("clap_general", "clap_music")
SINGLE = tuple(
    f"internvl_ib, projector {subset_name(member)}"
    for member in subsets(("text", "image", "audio"))
)

CLAIMS = (
    Claim(
        "Versatile lifts audio-text far above the unified space",
        "Table 3: AudioCaps 9.24 to 29.16",
        *(AT, VERSATILE, ("imagebind",), 3.0),
    ),
    Claim(
        "Versatile keeps image-text (within 1 point)",
        "Table 3: COCO 57.28 to 57.01",
        *(IT, VERSATILE, ("imagebind",), -1.0),
    ),
    Claim(
        "Versatile lifts audio-image",
        "Table 3: VGG-SS 14.82 to 15.48",
        *(AI, VERSATILE, ("imagebind",)),
    ),
    Claim(
        "AT-Expertise beats the best audio-text expert",
        "Table 3: AudioCaps 40.25 to 42.50",
        *(AT, EXPERTISE, CLAPS),
    ),
    Claim(
        "AT-Expertise loses image-text against the unified space",
        "Table 3: COCO 57.28 to 47.61",
        *(IT, "imagebind", (EXPERTISE,)),
    ),
    Claim(
        "AT-Expertise loses audio-image against the unified space",
        "Table 3: VGG-SS 14.82 to 12.38",
        *(AI, "imagebind", (EXPERTISE,)),
    ),
    Claim(
        "Two experts are better than either, at Versatile",
        "Table 7: AudioCaps 28.63, 27.33 to 29.16",
        *(AT, VERSATILE, (f"{GENERAL}, versatile", f"{MUSIC}, versatile")),
    ),
    Claim(
        "A displacement keeps the expert's image-text (within 1 point)",
        "Table 3: COCO, InternVL 61.05, InternVL_IB 61.49",
        *(IT, DISPLACED, ("internvl",), -1.0),
    ),
    Claim(
        "A displacement loses some audio-image",
        "Table 3: VGG-SS 14.82 to 13.77",
        *(AI, "imagebind", (DISPLACED,)),
    ),
    Claim(
        "Combining the image-text expert lifts image-text",
        "Table 5: COCO 57.28 to 58.90",
        *(IT, COMBINED, ("imagebind",)),
    ),
    Claim(
        "Combining it lifts image-text less than displacing it",
        "Table 5: COCO 58.90 against 61.49",
        *(IT, DISPLACED, (COMBINED,)),
    ),
    Claim(
        "Combining the image-text expert lifts audio-image",
        "Table 5: VGG-SS 14.82 to 16.14",
        *(AI, COMBINED, ("imagebind",)),
    ),
    Claim(
        "The mixture beats each of its projectors, on audio-text",
        "Table 8: AudioCaps, best single 10.23, mixture 11.17",
        *(AT, DISPLACED, SINGLE),
    ),
    Claim(
        "The mixture beats each of its projectors, on audio-image",
        "Table 8: VGG-SS, best single 12.93, mixture 13.77",
        *(AI, DISPLACED, SINGLE),
    ),
)

SEQUENTIAL, PARALLEL = "only_sequential, only_sequential", "only_parallel, only_parallel"
BOTH = "internvl_ib_pp, versatile"
TUNED, TUNED_BOTH = "internvl_ib_tuned, it_expertise", "internvl_ib_tuned_pp, versatile"
PRODUCT_CLAIMS = (
    Claim(
        "InternVL_IB++ keeps InternVL's image-text (within 1 point)",
        "Table 3: COCO 61.05 to 61.07",
        *(IT, BOTH, ("internvl",), -1.0),
    ),
    Claim(
        "InternVL_IB++ lifts audio-text far above InternVL_IB",
        "Table 3: AudioCaps 11.17 to 29.11",
        *(AT, BOTH, (DISPLACED,), 3.0),
    ),
    Claim(
        "*Sequential and parallel* beats *only parallel* at image-text",
        "Table 6: COCO 61.13 against 58.83",
        *(IT, TUNED_BOTH, (PARALLEL,)),
    ),
    Claim(
        "*Sequential and parallel* beats *only sequential* at audio-image",
        "Table 6: VGG-SS 15.48 against 9.24",
        *(AI, TUNED_BOTH, (SEQUENTIAL,)),
    ),
    Claim(
        "*Only sequential* is best at audio-text",
        "Table 6: AudioCaps 36.03 against 29.42, 29.14",
        *(AT, SEQUENTIAL, (TUNED_BOTH, PARALLEL)),
    ),
    Claim(
        "*Only sequential* loses image-text against *sequential and parallel*",
        "Table 6: COCO 33.77 against 61.13, 58.83",
        *(IT, TUNED_BOTH, (SEQUENTIAL,)),
    ),
)

TUNED_CLAIMS = (
    Claim(
        "Tuning the audio encoder lifts audio-image of InternVL_IB",
        "Table 3: VGG-SS 13.77 to 14.47",
        *(AI, TUNED, (DISPLACED,)),
    ),
    Claim(
        "Tuning the audio encoder lifts audio-image of InternVL_IB++, at Versatile",
        "Table 3: VGG-SS 14.40 to 15.48",
        *(AI, TUNED_BOTH, (BOTH,)),
    ),
    Claim(
        "InternVL_IB dagger++ keeps InternVL's image-text (within 1 point)",
        "Table 3: COCO 61.05 to 61.13",
        *(IT, TUNED_BOTH, ("internvl",), -1.0),
    ),
)

DIRECT = "imagebind_sum, chosen on val, cut"
GOALS = (
    Claim(
        "audio-text within 1 point of the mean of scores",
        "a goal of ours",
        *(AT, DIRECT, ("mean of scores: imagebind, clap_music, clap_general",), -1.0),
    ),
    Claim(
        "audio-image no worse than the unified space",
        "a goal of ours",
        *(AI, DIRECT, ("imagebind",)),
    ),
    Claim(
        "image-text within 1 point of the unified space",
        "a goal of ours",
        *(IT, DIRECT, ("imagebind",), -1.0),
    ),
    Claim(
        "audio-text above AT-Expertise",
        "not in the paper",
        *(AT, DIRECT, (EXPERTISE,)),
    ),
)
"""Our goals for the direct sum, at one weight and cut to the unified space's dimensions."""

UNTESTABLE = (
    "Classification (ESC-50, AudioSet, ImageNet; Tables 3, 4 and 7): words have no classes.",
    "The size of gains and losses on real audio, images and captions: words written, drawn and "
    "spoken have no meaning to compare.",
    "Training on pools of web scale, and the gain from larger pools.",
)


def items(result: Result, model: str, pair: str) -> Float[np.ndarray, " n"]:
    """Return for each item the share of directions, 0 to 1, in which its match ranks first."""
    count = result["items"]
    return np.mean([unpack(digits, count) for digits in result["test"][model][pair]["first"]], 0)


def recall(results: Sequence[Result], model: str, pair: str, k: int = 1) -> float:
    """Return the mean over seeds of a model's R@k."""
    return float(np.mean([result["test"][model][pair][f"R@{k}"] for result in results]))


def difference(results: Sequence[Result], model: str, against: str, pair: str) -> Interval:
    """Return how many points of R@1 one model is above another, with its bootstrap interval."""
    by_item = [100 * (items(r, model, pair) - items(r, against, pair)) for r in results]
    return paired_bootstrap(by_item)


def judge(claim: Claim, results: Sequence[Result]) -> tuple[str, Interval, str]:
    """Return the verdict on a claim, the smallest difference, and the model that it is against.

    A claim holds if the whole interval lies above the margin, against every model. It does not hold
    if one interval lies below. Otherwise it is open.
    """
    intervals = {m: difference(results, claim.model, m, claim.pair) for m in claim.against}
    nearest = min(intervals, key=lambda model: intervals[model].mean)
    if all(interval.low > claim.margin for interval in intervals.values()):
        return "holds", intervals[nearest], nearest
    fails = any(interval.high < claim.margin for interval in intervals.values())
    return ("does not hold" if fails else "open"), intervals[nearest], nearest
