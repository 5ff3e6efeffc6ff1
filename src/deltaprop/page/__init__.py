"""The interactive page: step through a network in a browser, and watch it train."""

from deltaprop.page.live import Watch, explore
from deltaprop.page.server import Page

__all__ = ["Page", "Watch", "explore"]
