"""Headless Chromium for tests of pages."""

import contextlib
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextlib.contextmanager
def chromium(profile, **options):
    """Start Chromium with its profile in the folder `profile`, and close it at the end."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install it")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            str(profile), executable_path=CHROMIUM, headless=True, args=FLAGS, **options
        )
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def chromium_page(profile, width=1280, height=900, color_scheme="light"):
    """Open a page in Chromium with its profile in the folder `profile`, and close it at the end.

    `page.complaints` lists errors and warnings, `page.requests` the requested URLs.
    """
    viewport = {"width": width, "height": height}
    with chromium(profile, offline=True, viewport=viewport, color_scheme=color_scheme) as browser:
        page = browser.new_page()
        page.complaints, page.requests = [], []
        page.on(
            "console",
            lambda m: page.complaints.append(m.text) if m.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.requests.append(request.url))
        yield page
