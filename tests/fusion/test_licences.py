import pytest

from fb_jax.errors import FreeBindError
from fb_jax.fusion.licences import KINDS, licence_kind, require_permissive, warn_of_licences

TEXTS = {
    "permissive": (
        *("MIT", "mit", "Apache-2.0", "Apache 2.0", "apache-2.0 license", "The MIT License"),
        *("BSD-3-Clause", "CC-BY-4.0", "CC BY 4.0", "CC0-1.0 (LAION-AI/CLAP)", "MIT (LICENSE)"),
        *("MIT AND Apache-2.0", "derived from MIT (clip), CC0-1.0 (clap)", "public domain"),
        "Apache License, Version 2.0",
    ),
    "non-commercial": (
        *("CC-BY-NC-SA-4.0", "CC-BY-NC-SA 4.0", "CC BY NC 3.0", "cc-by-nc-nd-4.0"),
        *("research only (README)", "non-commercial research and education (unconfirmed)"),
        *("MIT (noncommercial)", "list: academic use (README), MIT (LICENSE); media: YouTube's"),
        *(
            "derived from MIT (internvl), CC-BY-NC-SA-4.0 (imagebind)",
            "MIT (model), CC-BY-NC (data)",
        ),
        *("proprietary", "All rights reserved", "personal use only", "MIT (weights: proprietary)"),
        *("not for commercial use", "No commercial use", "commercial use is not allowed"),
        "commercial use prohibited",
    ),
    "unknown": (
        *(
            "",
            "unknown",
            "Unknown",
            "other",
            "see its model card",
            "N/A",
            "CC BY 4.0 (unconfirmed)",
        ),
        "derived from MIT (clip), unknown (clap)",
    ),
    "other": (
        "GPL-3.0",
        "CC-BY-SA-4.0",
        "openrail",
        "free for commercial use",
        "cc-by-nd-4.0",
        "llama3",
        "MIT-like, mine",
    ),
}
KNOWN = {"clip": "MIT", "clap": "CC0-1.0"}


@pytest.mark.parametrize(("kind", "text"), [(k, text) for k, ts in TEXTS.items() for text in ts])
def test_licences_are_judged_by_their_text(kind, text):
    assert set(TEXTS) == set(KINDS)
    assert licence_kind(text) == kind


def test_what_restricts_is_said_in_one_line(caplog):
    warn_of_licences(KNOWN, KNOWN)
    warn_of_licences(["gpl"], {"gpl": "GPL-3.0"})  # has conditions, but allows commercial use
    assert not caplog.records
    warn_of_licences(["imagebind", "clip", "own"], {"imagebind": "CC-BY-NC-SA-4.0", "clip": "MIT"})
    (record,) = caplog.records
    assert record.message == (
        "licences, which what is fused inherits: no commercial use: imagebind (CC-BY-NC-SA-4.0); "
        "unknown: own (--licence SPACE LICENCE)"
    )


def test_only_permissive_licences_pass():
    require_permissive(KNOWN, KNOWN)
    with pytest.raises(FreeBindError, match="not permissive") as raised:
        require_permissive([*KNOWN, "imagebind", "own"], {**KNOWN, "imagebind": "CC-BY-NC-4.0"})
    assert "imagebind: CC-BY-NC-4.0 (non-commercial); own: unknown (unknown)" in str(raised.value)
    assert "where:    imagebind, own" in str(raised.value)
