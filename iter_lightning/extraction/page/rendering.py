"""`render`: documents to a page that needs nothing but a browser.

The page's data stands in it as JSON that no HTML parser reads anything into, its texts become text nodes alone, and a
Content-Security-Policy lets run the page's own script and nothing else, and no network at all.
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
from typing import Any

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Document
from iter_lightning.files import write_atomically
from iter_lightning.types import Schema

TITLE = "Entities and relations"
TALLEST = 720
"""Pixels of a page inside a notebook; it scrolls from there on."""
_SCRIPTS = ("text.js", "judge.js", "layout.js", "paint.js", "panel.js", "page.js")
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Page:
    """A whole HTML page; in a notebook it shows itself.

    Args:
        html: the page.
        height: pixels it is given in a notebook until its script has measured it.
    """

    html: str
    height: int = TALLEST

    def save(self, path: str | Path) -> None:
        """Write the page to a file, whole or not at all.

        Raises:
            ConfigError: it cannot be written there.
        """
        try:
            write_atomically(Path(path), self.html)
        except OSError as error:
            raise ConfigError(f"{path}: the page cannot be written: {error.strerror or error}") from error

    def _repr_html_(self) -> str:
        """The page in a frame: neither its styles nor its names reach the notebook."""
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" title="Entities and relations" data-iter-most="{TALLEST}" '
            f'style="width: 100%; height: {self.height}px; border: 0"></iframe>'
        )


def render(documents: Document | Iterable[Document], schema: Schema | None = None, title: str = TITLE) -> Page:
    """A page of all of the documents; those with gold are shown with their errors and scores.

    Args:
        documents: one or more; for very many `PageWriter` needs less memory.
        schema: the order of the types, and so their colours, and which relations are symmetric; None takes the types
            that occur, sorted.
        title: of the page.

    Raises:
        ConfigError: something that is no document.
    """
    shown = [documents] if isinstance(documents, Document) else list(documents)
    for number, document in enumerate(shown):
        if not isinstance(document, Document):
            raise ConfigError(f"document {number}: expected a Document, found {type(document).__name__}")
    head, tail = page_parts(schema, title)
    blocks = "".join(document_block(document) for document in shown)
    height = 160 + sum(120 + 60 * (1 + len(document.text) // 90) for document in shown[:20])
    return Page(head + blocks + tail([]), min(height, TALLEST))


def assets() -> tuple[str, str]:
    """The style sheet and the script, for other pages; `window.iterPage.show(element, {schema, documents})` is theirs.

    `schema` and each of `documents` are what `to_dict()` gives; `title` and `notes` may stand beside them. Neither
    text can end the `<style>` or `<script>` that it is put into.
    """
    return _asset("page.css"), "(() => {\n'use strict';\n" + "".join(map(_asset, _SCRIPTS)) + "})();\n"


def embedded_json(value: Any) -> str:
    """JSON that can stand inside of `<script>`: nothing in it ends the element, begins a tag or breaks a line.

    A surrogate without its partner, which no file can hold, becomes U+FFFD: as long as it, so that offsets stay.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _SURROGATES.sub("\ufffd", text.translate(_UNSAFE))


def document_block(document: Document) -> str:
    """The element that carries one document."""
    values = document.to_dict()
    del values["words"]  # nothing shows them
    return f'<script type="application/json" class="iter-document-data">{embedded_json(values)}</script>\n'


class Tail:
    """What ends a page, once its notes are known."""

    def __init__(self, text: str) -> None:
        self._before, self._after = text.split("$notes")

    def __call__(self, notes: list[str]) -> str:
        """The end of the page."""
        return self._before + embedded_json(notes) + self._after


def page_parts(schema: Schema | None, title: str) -> tuple[str, Tail]:
    """The page up to its documents, and what comes after them."""
    style, script = assets()
    head, tail = _asset("page.html").split("<!-- documents -->\n")
    values = {
        "title": html.escape(_SURROGATES.sub("\ufffd", title)), "style": style, "style_digest": _digest(style),
        "script_digest": _digest(script),
        "head": embedded_json({"title": title, "schema": schema.to_dict() if schema else {}}),
    }  # fmt: skip
    before, after = tail.split("$script")
    return Template(head).substitute(values), Tail(before + "".join((script, after)))


@cache
def _asset(name: str) -> str:
    return files("iter_lightning.extraction.page").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
