// The page: filters, counts, scores, and documents. `window.iterPage.show` shows a page in an element.

const COLORS = 24;
const NEAR = "700px"; // blocks within this distance of the window are drawn
const OPEN_ROWS = 12; // longer tables of relations start collapsed

const views = new WeakMap();

class View {
  constructor(root, { schema = {}, documents = [], notes = [], title = "" }) {
    this.root = root;
    this.symmetric = new Set(schema.symmetric || []);
    this.docs = documents.map((values, index) => readDocument(values, index + 1));
    const seen = (kind) => [...new Set(this.docs.flatMap((doc) => doc[kind].map((item) => item.type)))].sort();
    const types = (known, kind) => [...new Set([...(known || []), ...seen(kind)])];
    this.types = { entities: types(schema.entity_types, "entities"), relations: types(schema.relation_types, "relations") };
    this.colors = new Map();
    this.types.entities.forEach((type, n) => this.colors.set(`e ${type}`, n % COLORS));
    this.types.relations.forEach((type, n) => this.colors.set(`r ${type}`, (n + this.types.entities.length) % COLORS));
    this.judged = this.docs.some((doc) => doc.judged);
    this.chosen = {
      entities: new Set(this.types.entities), relations: new Set(this.types.relations), verdicts: new Set(VERDICTS),
    };
    this.least = { entity: 0, relation: 0 };
    this.query = "";
    this.byVerdict = this.judged;
    this.onlyMatches = false;
    this.hits = []; // blocks that match the search
    this.hit = -1;
    this.waiting = new Set();
    this.build(title, notes);
    this.judgeAll();
    this.apply();
  }

  colorOf(item) {
    if (this.byVerdict && item.verdict) return `var(--iter-${item.verdict.replace(" ", "-")})`;
    return this.colorOfType(item.head ? "r" : "e", item.type);
  }

  colorOfType(kind, type) {
    return `var(--iter-c${this.colors.get(`${kind} ${type}`)})`;
  }

  // elements ---------------------------------------------------------------------------------------------------------

  build(title, notes) {
    this.root.classList.add("iter-page");
    this.counts = make("p", { class: "iter-counts", role: "status", "aria-live": "polite" });
    this.theme = make("button", { type: "button", class: "iter-button", onclick: () => this.turnTheme() });
    this.turnTheme("auto");
    this.scores = this.judged ? make("section", { class: "iter-scores", "aria-label": "Scores" }) : null;
    this.list = make("div", { class: "iter-documents" }, ...this.docs.map((doc) => this.article(doc)));
    this.nothing = make("p", { class: "iter-nothing" }, this.docs.length ? "Nothing matches the filters." : "No documents.");
    this.filters = buildFilters(this);
    this.root.replaceChildren(
      make("header", { class: "iter-header" }, title ? make("h1", {}, title) : null, this.counts, this.theme),
      ...notes.map((note) => make("p", { class: "iter-note", role: "note" }, note)),
      make("div", { class: "iter-columns" }, this.filters,
        make("div", { class: "iter-content" }, this.scores, this.list, this.nothing)),
    );
    this.watch();
  }

  article(doc) {
    const name = doc.id || `document ${doc.number}`;
    doc.summary = make("span", { class: "iter-summary" });
    doc.body = make("div", { class: "iter-text" });
    for (const block of doc.blocks) {
      block.svg = draw("svg", { "class": "iter-drawing", "aria-hidden": "true", "focusable": "false" });
      const text = doc.text.slice(block.start, block.end);
      block.words = make("div", { class: "iter-words", dir: "auto", "data-number": String(block.number + 1) }, text);
      block.tint = draw("svg", { "class": "iter-drawing iter-ground", "aria-hidden": "true", "focusable": "false" });
      block.element = make("div", { class: "iter-block" }, block.tint, block.words, block.svg);
      block.element.block = block;
    }
    doc.body.append(...doc.blocks.map((block) => block.element));
    doc.table = buildTable(doc, this);
    return (doc.element = make("article", { class: "iter-document", "aria-label": name },
      make("header", {}, make("h2", {}, make("bdi", {}, name)), doc.summary), doc.body, doc.table));
  }

  // watching ---------------------------------------------------------------------------------------------------------

  watch() {
    const blocks = () => this.docs.flatMap((doc) => doc.blocks);
    const seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        target.block.near = isIntersecting;
        if (isIntersecting && target.block.stale) this.queue(target.block);
      }
    }, { rootMargin: `${NEAR} 0px` });
    let width = 0;
    const sized = new ResizeObserver(() => {
      const now = this.list.getBoundingClientRect().width;
      this.root.classList.toggle("iter-wide", this.root.getBoundingClientRect().width >= 860);
      if (now === width || !now) return;
      width = now;
      this.redraw();
    });
    for (const block of blocks()) seen.observe(block.element);
    sized.observe(this.list);
    sized.observe(this.root);
    const abort = new AbortController(), { signal } = abort;
    const listen = (target, name, act) => target.addEventListener(name, act, { signal });
    document.fonts?.ready.then(() => this.redraw());
    listen(this.root, "pointerover", (event) => this.point(itemAt(event.target, event)));
    listen(this.root, "pointerleave", () => this.point(null));
    listen(this.root, "focusin", (event) => this.point(itemAt(event.target, event)));
    listen(this.root, "focusout", () => this.point(null));
    listen(window, "beforeprint", () => this.print(true));
    listen(window, "afterprint", () => this.print(false));
    listen(document, "keydown", (event) => {
      const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        this.root.querySelector(".iter-panel").open = true;
        this.root.querySelector(".iter-search").focus();
      }
    });
    this.close = () => { seen.disconnect(); sized.disconnect(); abort.abort(); };
  }

  /** Lay out all blocks for the width of the printer, and afterwards for the screen. */
  print(starts) {
    this.root.classList.toggle("iter-printing", starts);
    if (starts) {
      for (const doc of this.docs) if (doc.relations.length) fillTable(doc, this);
      const blocks = this.docs.filter((doc) => doc.shown).flatMap((doc) => doc.blocks).filter((block) => !block.element.hidden);
      layoutBlocks(blocks, this);
    } else this.redraw();
  }

  redraw() {
    for (const doc of this.docs) for (const block of doc.blocks) this.queue(block);
  }

  queue(block) {
    block.stale = true;
    if (!block.near) return;
    if (!this.waiting.size) requestAnimationFrame(() => this.flush());
    this.waiting.add(block);
  }

  flush() {
    const blocks = [...this.waiting].filter((block) => block.element.offsetWidth);
    this.waiting.clear();
    layoutBlocks(blocks, this);
    for (const block of blocks) block.stale = false;
    this.mark();
    this.markSearch();
  }

  // filters ----------------------------------------------------------------------------------------------------------

  judgeAll() {
    for (const doc of this.docs) judge(doc, this.least, this.symmetric);
  }

  /** Return whether an item passes all filters except for the given one. */
  passes(item, kind, but = "") {
    const { chosen } = this, either = (set, each) => set.has(each.type) || (each.partner && set.has(each.partner.type));
    if (!item.present || (item.gold && item.verdict !== "missed")) return false;
    if (but !== "verdicts" && item.verdict && !chosen.verdicts.has(item.verdict)) return false;
    if (but !== kind && !either(chosen[kind], item)) return false;
    return kind === "entities" || but === "entities" || (either(chosen.entities, item.head) && either(chosen.entities, item.tail));
  }

  apply() {
    const pattern = this.pattern();
    [this.hits, this.hit] = [[], -1];
    const facets = { entities: new Map(), relations: new Map(), verdicts: new Map() };
    const add = (facet, name) => facets[facet].set(name, (facets[facet].get(name) || 0) + 1);
    const total = { entities: [0, 0], relations: [0, 0], docs: 0 };
    for (const doc of this.docs) {
      doc.found = !pattern || pattern.test(doc.text) || pattern.test(doc.id);
      const here = { entities: 0, relations: 0, wrong: 0 };
      for (const kind of ["entities", "relations"]) {
        for (const item of doc[kind]) {
          item.shown = this.passes(item, kind);
          if (!item.gold || item.verdict === "missed") total[kind][1] += 1;
          if (item.shown) here[kind] += 1;
          if (item.shown && item.verdict && item.verdict !== "correct") here.wrong += 1;
          if (!doc.found) continue;
          if (this.passes(item, kind, kind)) add(kind, item.type);
          if (item.verdict && this.passes(item, kind, "verdicts")) add("verdicts", `${kind} ${item.verdict}`);
        }
      }
      this.match(doc, pattern);
      if (doc.shown) {
        total.docs += 1;
        total.entities[0] += here.entities;
        total.relations[0] += here.relations;
      }
      this.refresh(doc, here);
    }
    this.tell(total);
    this.filters.update(facets);
    if (this.judged) this.scores.replaceChildren(buildScores(this));
  }

  /** Return whether a sentence matches the search or, without a search, shows any item. */
  match(doc, pattern) {
    const whole = !pattern || pattern.test(doc.id);
    for (const block of doc.blocks) {
      const hit = pattern?.test(doc.text.slice(block.start, block.end));
      if (hit) this.hits.push(block);
      block.matches = hit || (whole && [...block.entities, ...block.relations].some((item) => item.shown));
      block.element.hidden = this.onlyMatches && !block.matches;
    }
    doc.shown = doc.found && (!this.onlyMatches || doc.blocks.some((block) => block.matches));
  }

  /** Go to the next sentence that matches the search. */
  nextHit() {
    if (!this.hits.length) return;
    this.hit = (this.hit + 1) % this.hits.length;
    this.hits[this.hit].element.scrollIntoView({ block: "center" });
  }

  refresh(doc, here) {
    doc.element.hidden = !doc.shown;
    const errors = doc.judged ? ` · ${plural(here.wrong, "error")}` : "";
    doc.summary.textContent = `${plural(here.entities, "entity")} · ${plural(here.relations, "relation")}${errors}`;
    for (const block of doc.blocks) this.queue(block);
    doc.table.update();
  }

  tell({ docs, entities, relations }) {
    const part = ([shown, all], word) => (shown === all ? plural(all, word) : `${number(shown)} of ${plural(all, word)}`);
    this.counts.textContent = [
      part([docs, this.docs.length], "document"), part(entities, "entity"), part(relations, "relation"),
    ].join(" · ");
    this.nothing.hidden = docs > 0;
  }

  pattern() {
    return this.query ? new RegExp(this.query.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), "iu") : null;
  }

  /** Highlight matches of the search, if the browser can do so without changes to the elements. */
  markSearch() {
    if (!globalThis.CSS?.highlights) return;
    CSS.highlights.delete("iter-search");
    if (!this.query) return;
    const pattern = new RegExp(this.pattern().source, "giu"), ranges = [];
    for (const block of this.docs.flatMap((doc) => (doc.shown ? doc.blocks : [])).filter((each) => each.near)) {
      const text = block.doc.text.slice(block.start, block.end);
      for (const match of text.matchAll(pattern)) ranges.push(rangeIn(block.words, match.index, match.index + match[0].length));
    }
    CSS.highlights.set("iter-search", new Highlight(...ranges));
  }

  // pointing ---------------------------------------------------------------------------------------------------------

  /** Emphasize an item and its related items in their document; null removes the emphasis. */
  point(found) {
    if (this.pointed?.item === found?.item) return;
    this.pointed = found;
    this.mark();
  }

  mark() {
    for (const node of this.root.querySelectorAll(".iter-on")) node.classList.remove("iter-on");
    for (const node of this.root.querySelectorAll(".iter-pointing")) node.classList.remove("iter-pointing");
    if (!this.pointed?.item.shown) return;
    const { item } = this.pointed, doc = item.doc;
    const linked = item.head ? [item] : doc.relations.filter((r) => r.shown && [r.head, r.tail].some((e) => spanKey(e) === spanKey(item)));
    const spans = new Set([...linked.flatMap((r) => [r.head, r.tail]), ...(item.head ? [] : [item])].map(spanKey));
    const on = [...linked, ...doc.entities.filter((e) => e.shown && spans.has(spanKey(e)))];
    for (const each of on) for (const node of [...each.marks, ...(each.row ? [each.row] : [])]) node.classList.add("iter-on");
    doc.element.classList.add("iter-pointing");
  }

  turnTheme(theme) {
    const next = { auto: "light", light: "dark", dark: "auto" };
    this.mode = theme || next[this.mode];
    this.root.style.colorScheme = { auto: "", light: "light", dark: "dark" }[this.mode];
    this.theme.textContent = `Theme: ${this.mode}`;
  }
}

function itemAt(target, event) {
  const drawn = target.closest?.(".iter-bracket, .iter-arc, .iter-row, .iter-segment");
  if (!drawn) return null;
  const item = drawn.item || drawn.segment?.covers.find((entity) => entity.shown);
  return item ? { item, event: event.type } : null;
}

/** Return the range `[start, end)`, in UTF-16 units, of the text of an element. */
function rangeIn(element, start, end) {
  const range = document.createRange(), walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let place = 0, opened = false;
  while (walker.nextNode()) {
    const { length } = walker.currentNode;
    if (!opened && start < place + length) {
      range.setStart(walker.currentNode, start - place);
      opened = true;
    }
    if (opened && end <= place + length) {
      range.setEnd(walker.currentNode, end - place);
      break;
    }
    place += length;
  }
  return range;
}

const number = (value) => value.toLocaleString("en");
const plural = (count, word) => `${number(count)} ${count === 1 ? word : word.replace(/y$/, "ie") + "s"}`;

/**
 * Show documents in an element, replacing its content.
 * @param element the element, which gets the class `iter-page`
 * @param content `schema` (`Schema.to_dict()`), `documents` (list of `Document.to_dict()`), optional `title` and `notes`
 */
function show(element, content) {
  views.get(element)?.close();
  views.set(element, new View(element, content));
}

window.iterPage = { show };

const root = document.getElementById("iter-page-root");
if (root) {
  const read = (node) => JSON.parse(node.textContent);
  const documents = Array.from(document.querySelectorAll("script.iter-document-data"), read);
  show(root, { ...read(document.getElementById("iter-page-head")), documents, notes: read(document.getElementById("iter-page-notes")) });
  fitFrame();
}

/** Fit the height of the frame in a notebook to the content, up to a limit. */
function fitFrame() {
  let frame = null;
  try {
    frame = window.frameElement;
  } catch { /* a frame of another origin keeps the height it has */ }
  if (!frame?.hasAttribute("data-iter-most")) return;
  const most = Number(frame.getAttribute("data-iter-most"));
  const fit = () => { frame.style.height = `${Math.min(most, Math.ceil(root.getBoundingClientRect().height) + 2)}px`; };
  new ResizeObserver(fit).observe(root);
}
