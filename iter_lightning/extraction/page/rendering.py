"""Render documents as an HTML page that needs only a browser.

The data is embedded as JSON with all HTML characters escaped, and texts are inserted as text nodes. The
Content-Security-Policy only allows the page's own script and style, and no network access.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Protocol, runtime_checkable

from iter_lightning.errors import ConfigError
from iter_lightning.io.atomic import write_atomically
from iter_lightning.types import Schema

TITLE = "Entities and relations"
TALLEST = 720
"""Largest height of a page in a notebook, in pixels. Taller pages scroll."""
_SCRIPTS = ("text.js", "judge.js", "layout.js", "paint.js", "panel.js", "page.js")
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_SURROGATES = re.compile("[\ud800-\udfff]")


@runtime_checkable
class Renderable(Protocol):
    """What the page shows: a `Document`, which in turn shows itself as a page in notebooks."""

    @property
    def text(self) -> str:
        """Return the text."""

    def to_dict(self) -> dict[str, Any]:
        """Return the plain values of a document; see `Document.to_dict`."""


@dataclass(frozen=True)
class Page:
    """Hold an HTML page. Notebooks display it.

    Args:
        html: Source of the page.
        height: Initial height in a notebook, in pixels, until the script measures the page.

    Example:
        >>> Page("<!DOCTYPE html>...").height
        720
    """

    html: str
    height: int = TALLEST

    def save(self, path: str | Path) -> None:
        """Write the page to a file, atomically.

        Raises:
            ConfigError: If the file cannot be written.
        """
        try:
            write_atomically(Path(path), self.html)
        except OSError as error:
            raise ConfigError(f"{path}: the page cannot be written: {error.strerror or error}") from error

    def _repr_html_(self) -> str:
        """Return the page in a frame, which isolates its styles and names from the notebook."""
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" title="Entities and relations" data-iter-most="{TALLEST}" '
            f'style="width: 100%; height: {self.height}px; border: 0"></iframe>'
        )


def render(documents: Renderable | Iterable[Renderable], schema: Schema | None = None, title: str = TITLE) -> Page:
    """Render documents as a page. Documents with gold annotation are shown with errors and scores.

    Args:
        documents: One document or several. For large numbers, `PageWriter` needs less memory.
        schema: Order of the types, which defines their colors, and symmetric relation types. None means the types that
            occur, in alphabetical order.
        title: Title of the page.

    Returns:
        A page that can be saved, or displayed in a notebook.

    Raises:
        ConfigError: If an item is not a document.

    Example:
        >>> from iter_lightning import Document
        >>> page = render(Document.from_words([["Ada", "sings"]]), title="Demo")
        >>> "<title>Demo</title>" in page.html
        True
    """
    shown = [documents] if isinstance(documents, Renderable) else list(documents)
    for number, document in enumerate(shown):
        if not isinstance(document, Renderable):
            raise ConfigError(f"document {number}: expected a Document, found {type(document).__name__}")
    head, end = page_parts(schema, title)
    blocks = "".join(document_block(document) for document in shown)
    height = 160 + sum(120 + 60 * (1 + len(document.text) // 90) for document in shown[:20])
    return Page(head + blocks + end([]), min(height, TALLEST))


def assets() -> tuple[str, str]:
    """Return the style sheet and the script, for use in other pages.

    The script defines `window.iterPage.show(element, {schema, documents})`, with optional `title` and `notes`. `schema`
    and `documents` are values of `to_dict()`. The texts are safe inside `<style>` and `<script>` elements.

    Returns:
        CSS and JavaScript.

    Example:
        >>> style, script = assets()
        >>> "iterPage" in script
        True
    """
    return _asset("page.css"), "(() => {\n'use strict';\n" + "".join(map(_asset, _SCRIPTS)) + "})();\n"


def embedded_json(value: Any) -> str:
    """Serialize a value as JSON that is safe inside a `<script>` element: without tags and special line breaks.

    A lone surrogate, which cannot be encoded, becomes U+FFFD. It has the same length, so offsets remain correct.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _SURROGATES.sub("\ufffd", text.translate(_UNSAFE))


def document_block(document: Renderable) -> str:
    """Return the HTML element with the data of one document."""
    values = document.to_dict()
    del values["words"]  # the page does not use them
    return f'<script type="application/json" class="iter-document-data">{embedded_json(values)}</script>\n'


class PageEnd:
    """Build the end of a page, once its notes are known."""

    def __init__(self, text: str) -> None:
        self._before, self._after = text.split("$notes")

    def __call__(self, notes: list[str]) -> str:
        """Return the end of the page."""
        return self._before + embedded_json(notes) + self._after


def page_parts(schema: Schema | None, title: str) -> tuple[str, PageEnd]:
    """Return the start of a page, up to its documents, and a function for its end."""
    style, script = assets()
    head, tail = _asset("page.html").split("<!-- documents -->\n")
    values = {
        "title": html.escape(_SURROGATES.sub("\ufffd", title)), "style": style, "style_digest": _digest(style),
        "script_digest": _digest(script),
        "head": embedded_json({"title": title, "schema": schema.to_dict() if schema else {}}),
    }  # fmt: skip
    before, after = tail.split("$script")
    return Template(head).substitute(values), PageEnd(before + script + after)


@cache
def _asset(name: str) -> str:
    return files("iter_lightning.extraction.page").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
