"""The interactive page: step through a network in a browser, and watch it train.

:func:`deltaprop.explore` and :class:`deltaprop.Watch` open any model and hand it to this package.
"""

from deltaprop.page.live import LivePage, explore
from deltaprop.page.server import Page
from deltaprop.page.subject import Subject, network_subject

__all__ = ["LivePage", "Page", "Subject", "explore", "network_subject"]
