"""The page: its data as text, its writer, and in a browser what is seen and what a reader can do."""

from __future__ import annotations

import html
import json
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from iter_lightning.errors import ConfigError
from iter_lightning.extraction.documents import Annotation, Document, TextEntity, TextRelation
from iter_lightning.extraction.page import PageWriter, assets, render
from iter_lightning.extraction.page import writer as writer_module
from iter_lightning.metrics.functional import EvaluationDefinition, count_entities, count_relations, micro
from iter_lightning.types import Example, Prediction, Relation, Schema
from tests.builders import SCHEMA, random_example

HOSTILE = "</script><script>window.hurt = 1</script><img src=x onerror='window.hurt = 2'> & \u2028 <!--"


def entity(text: str, span: str, kind: str, score: float = 1.0, after: int = 0) -> TextEntity:
    start = text.index(span, after)
    return TextEntity(start, start + len(span), kind, span, score)


def document(
    text: str, entities: list[tuple[str, str, float]], relations: list[tuple[int, int, str, float]] = (), **fields: Any
) -> Document:  # fmt: skip
    found = tuple(entity(text, *each) for each in entities)
    links = tuple(TextRelation(found[head], found[tail], kind, score) for head, tail, kind, score in relations)
    return Document(text, entities=found, relations=links, **fields)


LINKED = document(
    "Ada Moss of Tolna hired Ben Ray.",
    [("Ada Moss", "Per", 0.95), ("Tolna", "Loc", 0.5), ("Ben Ray", "Per", 0.8)],
    [(0, 1, "LiveIn", 0.9), (2, 0, "WorkFor", 0.6)],
    id="linked",
)


def embedded(page: str) -> list[dict[str, Any]]:
    return [json.loads(block) for block in re.findall(r'class="iter-document-data">(.*?)</script>', page, re.DOTALL)]


# without a browser ---------------------------------------------------------------------------------------------------


def test_data_survives_and_ends_no_element() -> None:
    hostile = document(HOSTILE, [("window", HOSTILE, 1.0)], id=HOSTILE)
    page = render([hostile, LINKED], SCHEMA, title="<b>& title").html
    first, second = embedded(page)
    assert first["text"] == first["id"] == first["entities"][0]["type"] == HOSTILE
    assert Document.from_dict(second) == LINKED
    assert "hurt" in page
    assert not re.search(r"<(script|img)[^>]*>window.hurt|<img", page)
    assert "\u2028" not in page
    assert "<title>&lt;b&gt;&amp; title</title>" in page
    assert page.count("</script>") == 2 + 3  # documents; head, notes and the page's own


def test_lone_surrogate_in_the_title_becomes_a_replacement_character() -> None:
    page = render(document("a b", []), title="\ud800").html
    page.encode()
    assert "<title>\ufffd</title>" in page


def test_the_policy_allows_the_own_script_alone() -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', render([]).html)
    assert policy
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy[1]
    assert "connect-src" not in policy[1]
    style, script = assets()
    assert "</style" not in style.lower()
    assert "</script" not in script.lower()
    assert not re.search(
        r"innerHTML|insertAdjacentHTML|document\.write|eval\(|https?://(?!www\.w3\.org/2000/svg)", script + style
    )


def test_what_is_no_document_is_told_with_its_place() -> None:
    with pytest.raises(ConfigError, match="document 1: expected a Document, found str"):
        render([LINKED, "text"])  # type: ignore[list-item]


def test_a_notebook_gets_a_frame_that_holds_the_page() -> None:
    page = render(document(HOSTILE, []))
    frame = page._repr_html_()
    match = re.fullmatch(r'<iframe srcdoc="([^"]*)" title="[^"]*" data-iter-most="\d+" style="[^"]*"></iframe>', frame)
    assert match
    assert html.unescape(match[1]) == page.html


def test_save_replaces_a_file_and_names_a_place_it_cannot_write_to(tmp_path: Path) -> None:
    page = render(LINKED)
    (tmp_path / "page.html").write_text("old")
    page.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page.html
    with pytest.raises(ConfigError, match=r"page\.html/x\.html: the page cannot be written: "):
        page.save(tmp_path / "page.html" / "x.html")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="folder: the page cannot be written: "):
        page.save(tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "page.html"]


def test_the_writer_writes_what_render_does(tmp_path: Path) -> None:
    with PageWriter(tmp_path / "new" / "page.html", SCHEMA) as writer:
        writer.write(LINKED)
        assert not (tmp_path / "new" / "page.html").exists()
    assert writer.notes == []
    assert (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == render(LINKED, SCHEMA).html
    writer.close()  # again
    with pytest.raises(ConfigError, match="is closed"):
        writer.write(LINKED)


def test_past_the_limit_the_writer_counts_and_says_so(tmp_path: Path) -> None:
    writer = PageWriter(tmp_path / "page.html", SCHEMA, limit=2)
    for number in range(1234):
        writer.write(replace(LINKED, id=str(number)))
    writer.close()
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert [values["id"] for values in embedded(page)] == ["0", "1"]
    assert writer.notes == ["the page shows the first 2 of 1,234 documents"]
    assert f'id="iter-page-notes">{json.dumps(writer.notes)}</script>' in page


def test_a_page_shows_the_first_documents_without_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MOST_BYTES", 2000)
    with PageWriter(tmp_path / "page.html", SCHEMA) as writer:
        for text in ("one", "x" * 5000, "three"):
            writer.write(Document(text))
    assert [v["text"] for v in embedded((tmp_path / "page.html").read_text(encoding="utf-8"))] == ["one"]
    assert writer.notes == ["the page shows the first 1 of 3 documents"]


def test_an_error_leaves_the_earlier_file(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("old")
    odd = replace(LINKED, entities=(TextEntity(0, 8, "Per", "Ada Moss", float("nan")),), relations=())
    with pytest.raises(ValueError, match="JSON"), PageWriter(tmp_path / "page.html", SCHEMA) as writer:
        writer.write(odd)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("limit", [0, -1, True, 2.5])
def test_a_limit_that_is_none_is_told(tmp_path: Path, limit: Any) -> None:
    with pytest.raises(ConfigError, match=f"limit of a page must be a whole number of at least 1, found {limit!r}"):
        PageWriter(tmp_path / "page.html", SCHEMA, limit)
    assert not list(tmp_path.iterdir())


# in a browser --------------------------------------------------------------------------------------------------------

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Tab:
    """A browser's tab; keeps what the console says and what is asked of a network."""

    def __init__(self, page: Any, folder: Path) -> None:
        self.page, self._file = page, folder / "page.html"
        self.said: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, documents: Any, schema: Schema | None = None) -> Any:
        self._file.write_text(render(documents, schema).html, encoding="utf-8")
        self.page.goto(self._file.as_uri())
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait for what was queued to be drawn."""
        frames = "new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 60))"
        self.page.evaluate(frames)

    def check(self) -> None:
        assert self.said == []
        assert {url for url in self.requests if url != "about:srcdoc"} <= {self._file.as_uri()}

    def counts(self) -> str:
        return str(self.page.inner_text(".iter-counts"))

    def labels(self, kind: str) -> list[str]:
        """Of what is drawn, by place in the text."""
        query = "(nodes) => nodes.map((node) => node.querySelector('text')?.textContent).filter(Boolean)"
        return sorted(self.page.eval_on_selector_all(f".iter-{kind}", query))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed (neither chromium nor google-chrome is on the path)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield Tab(browser.new_page(), tmp_path_factory.mktemp("page"))
        browser.close()


@pytest.fixture
def tab(session: Tab) -> Iterator[Tab]:
    session.page.set_viewport_size({"width": 1100, "height": 800})
    session.page.mouse.move(1, 1)
    session.page.goto("about:blank")
    session.said.clear()
    session.requests.clear()
    yield session
    session.check()


WORDS = """(documents) => documents.map((each) =>
    Array.from(each.querySelectorAll('.iter-words'), (words) => words.textContent).join(''))"""
SPANS = """() => Array.from(document.querySelectorAll('.iter-block')).flatMap(({ block }) =>
    block.entities.map((e) => block.spans.get(`${e.start} ${e.end}`).map((s) => s.inner.textContent).join('')))"""


def test_highlighted_text_is_the_entities(tab: Tab) -> None:
    texts = [
        ("👩‍🚀 Zoë 🚀 flew to 北京.\n\tThen  home", ["👩‍🚀 Zoë", "北京", "home"]),
        ("cafe\u0301 Rene\u0301e \U0001d4d0da", ["Rene\u0301e", "\U0001d4d0da", "\U0001d4d0"]),
        ("زار أحمد المنصور مدينة القاهرة مع Lena Park", ["أحمد المنصور", "مدينة القاهرة", "القاهرة", "Lena Park"]),
        ("a\r\nb  c\u2028d " + HOSTILE, ["b  c", HOSTILE[:9]]),
    ]
    documents = [document(text, [(span, "Loc", 1.0) for span in spans]) for text, spans in texts]
    page = tab.open(documents)
    assert page.evaluate(SPANS) == [span for _, spans in texts for span in spans]
    assert page.eval_on_selector_all(".iter-document", WORDS) == [text for text, _ in texts]
    assert tab.labels("bracket") == ["Loc"] * 12
    directions = "(nodes) => nodes.map((node) => getComputedStyle(node).direction)"
    assert page.eval_on_selector_all(".iter-words", directions).count("rtl") == 1


def test_sentences_are_blocks_and_no_entity_is_cut(tab: Tab) -> None:
    text = "One Ada.\n  Two Ben. Three of Tolna\n\n"
    words = tuple(match.span() for match in re.finditer(r"\S+", text))
    sentences = ((0, 8), (11, 19), (20, 34))
    crossing = (TextEntity(15, 25, "Per", text[15:25]),)
    show = "(nodes) => nodes.map((node) => node.textContent)"
    page = tab.open(Document(text, words, sentences))
    assert page.eval_on_selector_all(".iter-words", show) == ["One Ada.\n", "  Two Ben. ", "Three of Tolna\n\n"]
    page = tab.open(Document(text, words, sentences, crossing))
    assert page.eval_on_selector_all(".iter-words", show) == ["One Ada.\n", text[9:]]


def test_a_text_is_never_markup(tab: Tab) -> None:
    hostile = document(HOSTILE, [("window", HOSTILE, 1.0), ("img", "<i>", 1.0)], [(0, 1, "<script>", 0.5)], id=HOSTILE)
    page = tab.open(hostile)
    assert page.evaluate("window.hurt") is None
    assert page.evaluate("document.querySelectorAll('img, .iter-page script, .iter-page b').length") == 0
    assert page.inner_text("h2").startswith("</script><script>")


def test_no_network_can_be_reached(tab: Tab) -> None:
    page = tab.open(LINKED)
    attempt = "fetch('http://127.0.0.1:9/').then(() => 'reached', (error) => error.name)"
    assert page.evaluate(attempt) == "TypeError"
    image = """new Promise((done) => {
        const image = new Image();
        image.onerror = () => done('refused');
        image.src = 'http://127.0.0.1:9/x.png';
    })"""
    assert page.evaluate(image) == "refused"
    assert len([text for text in tab.said if "Content Security Policy" in text]) >= 2
    tab.said.clear()
    tab.requests.clear()  # what was tried, and refused


BARS = """() => Array.from(document.querySelectorAll('.iter-bracket')).map(({ item, block }) => {
    const range = block.spans.get(`${item.start} ${item.end}`).flatMap((s) => Array.from(s.inner.getClientRects()));
    const mark = item.marks.find((each) => each.matches('.iter-bracket'));
    const bar = mark.querySelector('.iter-bar').getBoundingClientRect();
    return [Math.min(...range.map((r) => r.left)) - bar.left, Math.max(...range.map((r) => r.right)) - bar.right,
            bar.top - Math.max(...range.map((r) => r.bottom))];
})"""
ARCS = """() => Array.from(document.querySelectorAll('.iter-line')).map((line) => {
    const { item, block } = line.parentNode, svg = block.svg.getBoundingClientRect();
    const box = (e) => block.spans.get(`${e.start} ${e.end}`).map((s) => s.inner.getBoundingClientRect());
    const over = (p, e) => box(e).some((r) => r.left - 12 <= p.x + svg.left && p.x + svg.left <= r.right + 12
        && Math.abs(p.y + svg.top - r.top) < 3);
    return [item.head.text, over(line.getPointAtLength(0), item.head),
            item.tail.text, over(line.getPointAtLength(line.getTotalLength()), item.tail)];
})"""


def test_bars_lie_under_their_entities_and_arcs_join_their_arguments(tab: Tab) -> None:
    text = "The mayor of northern Port Salis met Ada Moss of Vell."
    spans = ["The mayor of northern Port Salis", "northern Port Salis", "Port Salis", "Salis", "Salis met Ada"]
    nested = document(
        text, [(span, "Loc", 1.0) for span in [*spans, "Ada Moss", "Vell"]],
        [(5, 6, "LiveIn", 1.0), (0, 1, "WorkFor", 1.0), (6, 5, "Near", 1.0), (2, 6, "Near", 1.0), (3, 3, "Kin", 1.0)],
    )  # fmt: skip
    page = tab.open(nested)
    for left, right, below in page.evaluate(BARS):
        assert abs(left) < 3
        assert abs(right) < 3
        assert below > 0
    ends = page.evaluate(ARCS)
    assert sorted((head, tail) for head, _, tail, _ in ends) == sorted(
        (r.head.text, r.tail.text) for r in nested.relations
    )
    assert all(at_head and at_tail for _, at_head, _, at_tail in ends)
    boxes = """(nodes) => nodes.map((node) => node.getBoundingClientRect())
        .map(({ left, top, right, bottom }) => [left, top, right, Math.max(bottom, top + 1)])"""  # bars have no height
    drawn = page.eval_on_selector_all(".iter-tag, .iter-bar", boxes)
    assert len(drawn) == 12 + 7
    for number, (left, top, right, bottom) in enumerate(drawn):
        assert left >= 0
        assert right <= 1100
        for other in drawn[:number]:  # labels and bars never lie on each other
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


def test_an_arc_over_lines_becomes_two_that_name_each_other_and_a_resize_draws_anew(tab: Tab) -> None:
    page = tab.open(LINKED)
    assert tab.labels("arc") == ["LiveIn", "WorkFor"]
    page.set_viewport_size({"width": 200, "height": 800})
    tab.settle()
    labels = [label.replace("\u2068", "").replace("\u2069", "") for label in tab.labels("arc")]
    assert "WorkFor › Ada Moss" in labels
    assert "Ben Ray › WorkFor" in labels
    page.set_viewport_size({"width": 1100, "height": 800})
    tab.settle()
    assert tab.labels("arc") == ["LiveIn", "WorkFor"]


def test_filters_sliders_and_search(tab: Tab) -> None:
    other = document("Nothing but Vell.", [("Vell", "Loc", 0.3)], id="other")
    page = tab.open([LINKED, other], SCHEMA)
    assert tab.counts() == "2 documents · 4 entities · 2 relations"
    assert page.eval_on_selector_all(
        ".iter-types-e .iter-box", "(n) => n.map((b) => b.innerText.replace(/\\s+/g, ' ').trim())"
    ) == ["Loc 2", "Org 0", "Per 2"]

    page.uncheck(".iter-types-e input[value=Loc]")  # takes the relations of its entities with it
    tab.settle()
    assert tab.counts() == "2 documents · 2 of 4 entities · 1 of 2 relations"
    assert (tab.labels("bracket"), tab.labels("arc")) == (["Per", "Per"], ["WorkFor"])
    page.check(".iter-only")
    tab.settle()
    assert tab.counts() == "1 of 2 documents · 2 of 4 entities · 1 of 2 relations"
    page.uncheck(".iter-only")
    page.check(".iter-types-e input[value=Loc]")

    page.click(".iter-types-r button:has-text('none')")
    tab.settle()
    assert tab.counts() == "2 documents · 4 entities · 0 of 2 relations"
    page.click(".iter-types-r button:has-text('all')")

    page.fill(".iter-least-entity", "0.8")
    page.fill(".iter-least-relation", "0.7")
    tab.settle()
    assert tab.counts() == "2 documents · 2 of 4 entities · 0 of 2 relations"
    page.fill(".iter-least-entity", "0.5")
    tab.settle()
    assert tab.counts() == "2 documents · 3 of 4 entities · 1 of 2 relations"

    page.keyboard.press("Tab")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("/")
    page.keyboard.type("VELL.")
    page.locator(".iter-document >> nth=0").wait_for(state="hidden")
    tab.settle()
    assert page.inner_text(".iter-document:not([hidden]) h2") == "other"
    assert page.evaluate("Array.from(CSS.highlights.get('iter-search') ?? [], String)") == ["Vell."]
    assert page.inner_text(".iter-hits") == "1 sentence · Enter goes to the next"


def test_a_search_leads_from_sentence_to_sentence(tab: Tab) -> None:
    text = "".join(f"Line {n}{' of Tolna' * (n % 50 == 49)}.\n" for n in range(100))
    page = tab.open(document(text, [("Line 0", "Loc", 1.0)]))
    page.fill(".iter-search", "tolna")
    page.locator(".iter-hits:text('2 sentences')").wait_for()
    seen = "() => [49, 99].map((n) => document.querySelectorAll('.iter-block')[n].getBoundingClientRect().top)"
    for at in (0, 1, 0):
        page.press(".iter-search", "Enter")
        assert 0 < page.evaluate(seen)[at] < 800
    page.check(".iter-only")
    tab.settle()
    shown = "(nodes) => nodes.filter((node) => node.offsetHeight).map((node) => node.textContent)"
    assert page.eval_on_selector_all(".iter-words", shown) == ["Line 49 of Tolna.\n", "Line 99 of Tolna.\n"]
    page.fill(".iter-search", "")
    page.locator(".iter-hits:text-is('')").wait_for(state="attached")
    tab.settle()
    assert page.eval_on_selector_all(".iter-words", shown) == ["Line 0.\n"]


def test_pointing_at_a_row_brings_out_its_relation_and_arguments(tab: Tab) -> None:
    page = tab.open(LINKED)
    page.focus(".iter-row >> nth=1")
    on = "(nodes) => [...new Set(nodes.map(({ item }) => item.text ?? item.type))].sort()"
    assert page.eval_on_selector_all(".iter-bracket.iter-on, .iter-arc.iter-on", on) == [
        "Ada Moss",
        "Ben Ray",
        "WorkFor",
    ]
    page.hover(".iter-segment:text('Tolna')")
    assert page.eval_on_selector_all(".iter-bracket.iter-on, .iter-arc.iter-on", on) == ["Ada Moss", "LiveIn", "Tolna"]
    page.mouse.move(5, 5)
    assert page.locator(".iter-on").count() == 0


def judged() -> Document:
    text = "Ada Moss of Tolna hired Ben Ray at Vell."
    found = document(
        text, [("Ada Moss", "Per", 0.9), ("Tolna", "Org", 0.9), ("hired", "Org", 0.2), ("Ben Ray", "Per", 0.9)],
        [(0, 1, "LiveIn", 0.9), (3, 0, "Near", 0.9), (0, 3, "WorkFor", 0.9), (2, 0, "WorkFor", 0.9)],
    )  # fmt: skip
    gold = document(
        text, [("Ada Moss", "Per", 1.0), ("Tolna", "Loc", 1.0), ("Ben Ray", "Per", 1.0), ("Vell", "Loc", 1.0)],
        [(0, 1, "LiveIn", 1.0), (0, 2, "Near", 1.0), (0, 2, "Kin", 1.0), (2, 3, "LiveIn", 1.0)],
    )  # fmt: skip
    return replace(found, gold=Annotation(gold.entities, gold.relations))


def test_gold_shows_errors_and_scores(tab: Tab) -> None:
    page = tab.open(judged(), SCHEMA)
    assert tab.labels("bracket") == sorted(["Per", "Org ≠ Loc", "+ Org", "Per", "− Loc"])
    # Near is symmetric: found the other way round, it is right; the two rest on the same arguments are one wrong type
    assert tab.labels("arc") == sorted(["LiveIn ≠ argument type", "Near", "WorkFor ≠ Kin", "+ WorkFor", "− LiveIn"])
    rows = "(rows) => rows.map((r) => [r.dataset.verdict, ...Array.from(r.cells, (c) => c.innerText.trim()).slice(1)])"
    table = page.eval_on_selector_all(".iter-verdicts tbody tr", rows)
    assert table == [["correct", "2", "1"], ["missed", "1", "1"], ["spurious", "1", "1"], ["wrong type", "1", "2"]]
    assert scores_of(page) == {"NER": (2, 2, 2), "RE": (2, 2, 2), "RE+": (1, 3, 3)}
    assert page.inner_text(".iter-scores [data-task=NER]").split() == ["NER", "50.0", "50.0", "50.0", "2", "2", "2"]
    assert (
        page.eval_on_selector(
            ".iter-bracket[data-verdict=missed] .iter-bar", "(bar) => getComputedStyle(bar).strokeDasharray"
        )
        == "5px, 3px"
    )

    page.uncheck(".iter-verdicts input[value=correct]")
    tab.settle()
    assert tab.labels("bracket") == sorted(["Org ≠ Loc", "+ Org", "− Loc"])
    assert scores_of(page)["NER"] == (2, 2, 2)
    page.fill(".iter-least-entity", "0.5")  # what is below it was not found
    tab.settle()
    assert scores_of(page) == {"NER": (2, 1, 2), "RE": (2, 1, 2), "RE+": (1, 2, 3)}


def scores_of(page: Any) -> dict[str, tuple[int, ...]]:
    rows = page.eval_on_selector_all(
        ".iter-scores tbody tr", "(rows) => rows.map((row) => Array.from(row.cells, (c) => c.innerText))"
    )
    return {row[0]: tuple(int(cell.replace(",", "")) for cell in row[4:]) for row in rows}


def as_document(gold: Example, found: Example) -> Document:
    """Words and their entities as characters of a text."""
    base = Document.from_words([gold.words])

    def annotation(example: Example) -> Annotation:
        places = {e: (base.words[e.start][0], base.words[e.end - 1][1]) for e in example.entities}
        entities = {e: TextEntity(*b, e.type, base.text[slice(*b)]) for e, b in places.items()}
        links = tuple(TextRelation(entities[r.head], entities[r.tail], r.type) for r in example.relations)
        return Annotation(tuple(entities.values()), links)

    own = annotation(found)
    return replace(base, entities=own.entities, relations=own.relations, gold=annotation(gold))


def test_the_page_counts_as_the_metrics_do(tab: Tab) -> None:
    rng, definition, documents, expected = random.Random(0), EvaluationDefinition(), [], []
    for _ in range(40):
        gold = random_example(rng, words=4, entities=4, relations=5, longest=2, one_type_a_span=False)
        found = replace(
            random_example(rng, words=4, entities=4, relations=5, longest=2, one_type_a_span=False), words=gold.words
        )
        relations = tuple(dict.fromkeys(Relation(r.head, r.tail, r.type) for r in found.relations))
        prediction = Prediction(found.entities, relations, (1.0,) * len(found.entities), (1.0,) * len(relations))
        documents.append(as_document(gold, found))
        expected.append([
            micro(count_entities(gold, prediction, definition)),
            *(micro(count_relations(gold, prediction, SCHEMA, definition, strict)) for strict in (False, True)),
        ])  # fmt: skip
    totals = [tuple(map(sum, zip(*column, strict=True))) for column in zip(*expected, strict=True)]
    assert all(all(total) for total in totals)
    assert list(scores_of(tab.open(documents, SCHEMA)).values()) == totals


def test_three_hundred_documents_and_a_long_one(tab: Tab) -> None:
    sentence = "Ada Moss of Tolna hired Ben Ray. "
    long = Document(
        sentence * 200, tuple(m.span() for m in re.finditer(r"\S+", sentence * 200)),
        tuple((33 * n, 33 * n + 32) for n in range(200)),
        tuple(replace(e, start=33 * n + e.start, end=33 * n + e.end) for n in range(200) for e in LINKED.entities),
    )  # fmt: skip
    page = tab.open([*(replace(LINKED, id=str(n)) for n in range(300)), long])
    assert tab.counts() == "301 documents · 1,500 entities · 600 relations"
    assert 0 < page.locator(".iter-bracket").count() < 1000  # only what is near the window is drawn
    page.locator(".iter-block >> nth=-1").scroll_into_view_if_needed()
    page.locator(".iter-document:last-child .iter-block:last-child .iter-bracket").first.wait_for(state="attached")


def test_printing_draws_everything_for_the_paper(tab: Tab) -> None:
    page = tab.open([replace(LINKED, id=str(n)) for n in range(60)])
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".iter-bracket").count() == 180
    assert page.eval_on_selector(".iter-documents", "(list) => list.offsetWidth") == 660
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    tab.settle()
    assert page.eval_on_selector(".iter-documents", "(list) => list.offsetWidth") > 660


def test_a_notebook_keeps_its_styles_and_the_frame_fits(tab: Tab) -> None:
    page = tab.page
    page.set_content(f"<h1>Notebook</h1>{render(LINKED)._repr_html_()}")
    frame = page.frame_locator("iframe")
    frame.locator(".iter-bracket >> nth=2").wait_for(state="attached")
    fits = """() => { const frame = document.querySelector('iframe');
        const inside = frame.contentDocument.querySelector('.iter-page').getBoundingClientRect().height;
        return inside < 700 && Math.abs(frame.offsetHeight - inside - 2) <= 2; }"""
    page.wait_for_function(fits)
    assert page.evaluate("typeof window.iterPage") == "undefined"


def test_other_pages_show_documents_in_an_element(tab: Tab) -> None:
    style, script = assets()
    page = tab.page
    page.set_content(f"<style>{style}</style><main id=here></main><script>{script}</script>")
    content = {"schema": SCHEMA.to_dict(), "documents": [LINKED.to_dict()]}
    for _ in range(2):  # the second takes the place of the first
        page.evaluate("(content) => iterPage.show(document.getElementById('here'), content)", content)
        tab.settle()
        assert tab.labels("arc") == ["LiveIn", "WorkFor"]


def test_dark_and_light_have_contrast(tab: Tab) -> None:
    """Every color stands out from the background by 3 : 1, text by 4.5 : 1."""
    page = tab.open(judged(), SCHEMA)
    measure = """() => {
        const names = [...Array.from({ length: 24 }, (_, n) => `c${n}`), 'correct', 'missed', 'spurious', 'wrong-type'];
        names.push('ink', 'soft');
        const root = document.querySelector('.iter-page'), probe = root.appendChild(document.createElement('i'));
        const level = (name) => {
            probe.style.color = `var(--iter-${name})`;
            const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255);
            const [r, g, b] = parts.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
        };
        const paper = level('paper');
        const found = Object.fromEntries(names.map((n) => [n, Math.max(level(n), paper) / Math.min(level(n), paper)]));
        probe.remove();
        return found;
    }"""
    for mode in ("light", "dark"):
        page.click(".iter-header .iter-button")
        assert page.inner_text(".iter-header .iter-button") == f"Theme: {mode}"
        contrast = page.evaluate(measure)
        assert min(contrast.values()) >= 3
        assert min(contrast["ink"], contrast["soft"]) >= 4.5
        assert len(set(contrast.values())) > 20
