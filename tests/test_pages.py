"""README, CONTRIBUTING and docs: CI runs their commands, and their links exist."""

import re
from pathlib import Path

import pytest
from website import reference

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
BUILT = {"changelog.md", "contributing.md", "security.md", "gallery/index.md", *reference.pages()}
"""Pages of the site that are no files, relative to docs/."""


def commands(page):
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.startswith("    python3 -m venv ")]


def test_ci_runs_the_commands_of_the_readme():
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert len(commands("README.md")) == 2
    for command in commands("README.md"):
        assert f"{command} || exit 1" in ci


def test_contributing_gives_the_command_of_the_readme():
    assert commands("CONTRIBUTING.md") == commands("README.md")[1:]


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_exist(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if target.is_relative_to(DOCS) and str(target.relative_to(DOCS)) in BUILT:
                continue
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link
