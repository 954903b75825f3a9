"""Render documents with their entities and relations as a self-contained HTML page."""

from iter_lightning.extraction.page.rendering import Page, assets, render
from iter_lightning.extraction.page.writer import PageWriter

__all__ = ["Page", "PageWriter", "assets", "render"]
