"""What the docs name is there: files, modules, and the targets of links."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
FILES = LISTED.stdout.splitlines()
PAGES = [name for name in FILES if name.endswith(".md")]
READERS_OWN = {"letters.py", "mine.py"}
"""Files that a page lets the reader write."""
OURS = ("fb_jax", "encoders_torch", "examples", "benchmarks", "parity", "fuzz")


@pytest.mark.parametrize("page", PAGES)
def test_files_and_modules_that_a_page_names_are_there(page):
    text = (ROOT / page).read_text()
    paths = set(re.findall(r"`((?:\w+/)*\w+\.py)`", text)) - READERS_OWN
    named = re.findall(r"python -m ([\w.]*\w)", text)
    ours = [name.replace(".", "/") for name in named if name.split(".")[0] in OURS]
    lost = {path for path in paths if not _there(path)}
    lost |= {
        name for name in ours if not _there(f"{name}.py") and not _there(f"{name}/__main__.py")
    }
    assert not lost


def _there(path: str) -> bool:
    """Return whether a file is there, by the end of its path."""
    return any(f"/{name}".endswith(f"/{path}") for name in FILES)


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_to_files_and_headings(page):
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        if not target.exists() or (anchor and anchor not in _anchors(target.read_text())):
            lost.append(link)
    assert lost == []


def _anchors(text: str) -> set[str]:
    """Return the anchors that a renderer makes of headings."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in kept}
