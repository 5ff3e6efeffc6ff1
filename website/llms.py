"""llms.txt, the list of the site's pages for language models, and llms-full.txt, their text."""

from __future__ import annotations

import re
from typing import Any

_pages: list[Any] = []


def remember(nav: Any) -> None:
    _pages[:] = nav.pages


def _without_settings(markdown: str) -> str:
    """The page without the settings at its top."""
    return re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL).strip()


def _first_sentence(markdown: str) -> str:
    """What the page is about: its first sentence, without links."""
    for paragraph in markdown.split("\n\n"):
        if paragraph[:1].isalpha() or paragraph.startswith("`"):
            text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
            return re.split(r"(?<=[.?!])\s", text)[0].rstrip(":")
    return ""


def texts(name: str, description: str) -> dict[str, str]:
    """Both files by their names, from the pages of the last navigation."""
    head = f"# {name}\n\n> {description}\n\n"
    entries, full = [], []
    for page in _pages:
        text = _without_settings(page.file.content_string)
        about = _first_sentence(text)
        entries.append(f"- [{page.title}]({page.url})" + (f": {about}" if about else ""))
        if not page.url.startswith(("gallery/", "reference/")):
            full.append(f"<!-- {page.url} -->\n\n{text}\n")
    return {
        "llms.txt": head + "## Pages\n\n" + "\n".join(entries) + "\n",
        "llms-full.txt": head + "\n\n".join(full),
    }
