"""Interactive sessions on the site: how they look, and what their button copies."""

from __future__ import annotations

import doctest
import html
import re

_LISTING = re.compile(r'<div class="language-pycon highlight">(?=<pre>(.*?)</pre>)', re.DOTALL)


def mark(markdown: str) -> str:
    """Name the language of sessions, so that results do not look like code; drop flags."""
    markdown = re.sub(r"^```python\n(?=>>> )", "```pycon\n", markdown, flags=re.MULTILINE)
    return re.sub(r" *# doctest: .*$", "", markdown, flags=re.MULTILINE)


def statements(session: str) -> str:
    """The statements of a session without prompts and results, for pasting into Python."""
    try:
        sources = [example.source for example in doctest.DocTestParser().get_examples(session)]
    except ValueError:  # not a session after all
        return session
    # The interactive interpreter reads a block up to an empty line.
    return "".join(s + "\n" * (s.count("\n") > 1) for s in sources).rstrip("\n")


def render_page(page_html: str) -> str:
    """Give each session the text that its button copies."""
    return _LISTING.sub(_with_statements, page_html)


def _with_statements(listing: re.Match[str]) -> str:
    copied = statements(html.unescape(re.sub(r"<[^>]+>", "", listing[1])))
    return f'<div class="language-pycon highlight" data-copy="{html.escape(copied)}">'
