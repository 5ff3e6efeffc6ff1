"""llms.txt, the list of the site's pages for language models, and llms-full.txt, their text."""

from __future__ import annotations

from typing import Any

_pages: list[Any] = []


def remember(nav: Any) -> None:
    _pages[:] = nav.pages


def _first_paragraph(markdown: str) -> str:
    for paragraph in markdown.split("\n\n"):
        if paragraph[:1].isalpha() or paragraph.startswith("`"):
            return " ".join(paragraph.split())
    return ""


def texts(name: str, description: str) -> dict[str, str]:
    """Both files by their names, from the pages of the last navigation."""
    head = f"# {name}\n\n> {description}\n\n"
    entries, full = [], []
    for page in _pages:
        text = page.file.content_string
        about = _first_paragraph(text)
        entries.append(f"- [{page.title}]({page.url})" + (f": {about}" if about else ""))
        if not page.url.startswith(("gallery/", "reference/")):
            full.append(f"<!-- {page.url} -->\n\n{text.strip()}\n")
    return {
        "llms.txt": head + "## Pages\n\n" + "\n".join(entries) + "\n",
        "llms-full.txt": head + "\n\n".join(full),
    }
