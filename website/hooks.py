"""MkDocs hooks: the pages that are not files of docs/, equations, and interactive sessions."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # MkDocs loads this file by its path

from website import equations, gallery, llms, reference, sessions  # noqa: E402

# `:class:`Loss`` of a docstring, once Markdown has turned its backticks into <code>.
_ROLE = re.compile(r":(?:class|func|meth|mod|attr|math|ref):(?=<code>)")


def _from_root(name: str) -> str:
    """A page of the repository's root, with its links as they are from docs/."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    return text.replace("](CONTRIBUTING.md", "](contributing.md").replace(
        "](SECURITY", "](security"
    )


def on_config(config: Any) -> Any:
    """Put the pages of the gallery into the navigation."""
    examples = [f"gallery/{script.stem}.md" for script in gallery.scripts(ROOT)]
    (entry,) = (entry for entry in config.nav if "Gallery" in entry)
    entry["Gallery"] = [entry["Gallery"], *examples]
    return config


def on_files(files: Any, config: Any) -> Any:
    pages = {
        "changelog.md": _from_root("CHANGELOG.md"),
        "contributing.md": _from_root("CONTRIBUTING.md"),
        "security.md": _from_root("SECURITY.md"),
        **reference.pages(),
        **gallery.pages(ROOT),
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    return sessions.mark(markdown)


def on_page_content(page_html: str, page: Any, config: Any, files: Any) -> str:
    if page.url.startswith("reference/"):
        page_html = _ROLE.sub("", page_html).replace("``", "")  # in the types of parameters
    return equations.render_page(sessions.render_page(page_html))


def on_nav(nav: Any, config: Any, files: Any) -> Any:
    llms.remember(nav)
    return nav


def on_post_build(config: Any) -> None:
    for name, text in llms.texts(config.site_name, config.site_description).items():
        (Path(config.site_dir) / name).write_text(text, encoding="utf-8")
