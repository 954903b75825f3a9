"""An HTML page of documents with what was found in them, whole in one file and without a network."""

from iter_lightning.extraction.page.rendering import Page, assets, render
from iter_lightning.extraction.page.writer import PageWriter

__all__ = ["Page", "PageWriter", "assets", "render"]
