// Texts, their blocks (one per sentence), and segments (text between two boundaries of entities).

/** Return a function from offsets in code points (Python) to offsets in UTF-16 units (JavaScript). */
function unitsOf(text) {
  if (!/[\ud800-\udfff]/.test(text)) return (point) => point;
  const table = [];
  for (let unit = 0; unit < text.length; unit += text.codePointAt(unit) > 0xffff ? 2 : 1) table.push(unit);
  table.push(text.length);
  return (point) => table[point];
}

/** Build the items (predicted and gold entities and relations) and blocks of one `Document.to_dict()`. */
function readDocument(values, number) {
  const at = unitsOf(values.text);
  const doc = { number, id: values.id || "", text: values.text, judged: Boolean(values.gold), entities: [], relations: [] };
  for (const [source, gold] of [[values, false], [values.gold || {}, true]]) {
    const own = (source.entities || []).map((e) => ({
      gold, type: e.type, start: at(e.start), end: at(e.end), text: values.text.slice(at(e.start), at(e.end)),
      score: e.score ?? 1, present: true, shown: true, verdict: null, partner: null, marks: [],
    }));
    doc.entities.push(...own);
    doc.relations.push(...(source.relations || []).map((r) => ({
      gold, type: r.type, head: own[r.head], tail: own[r.tail],
      score: r.score ?? 1, present: true, shown: true, verdict: null, partner: null, marks: [],
    })));
  }
  doc.entities.forEach((e, index) => { e.index = index; });
  doc.relations.forEach((r, index) => { r.index = index; });
  const sentences = (values.sentences || []).map(([start, end]) => [at(start), at(end)]);
  doc.blocks = blocksOf(doc, sentences);
  return doc;
}

/** Cut the text before each sentence, or after each line without sentences, but never inside an entity. */
function blocksOf(doc, sentences) {
  let cuts = [];
  for (let n = 1; n < sentences.length; n++) {
    const gap = doc.text.slice(sentences[n - 1][1], sentences[n][0]);
    cuts.push(sentences[n - 1][1] + (gap.lastIndexOf("\n") + 1 || gap.length)); // indentation belongs to the following line
  }
  if (!sentences.length) cuts = Array.from(doc.text.matchAll(/\n+/g), (match) => match.index + match[0].length);
  const byStart = [...doc.entities].sort((a, b) => a.start - b.start);
  let next = 0, reach = 0;
  cuts = cuts.filter((cut) => {
    while (next < byStart.length && byStart[next].start < cut) reach = Math.max(reach, byStart[next++].end);
    return reach <= cut && cut < doc.text.length;
  });
  const borders = [0, ...cuts, doc.text.length];
  const blocks = borders.slice(1).map((end, n) => ({ doc, number: n, start: borders[n], end, entities: [], relations: [] }));
  const blockAt = (place) => {
    let low = 0, high = blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (blocks[middle].start <= place) low = middle; else high = middle - 1;
    }
    return blocks[low];
  };
  for (const e of doc.entities) (e.block = blockAt(e.start)).entities.push(e);
  for (const r of doc.relations) for (const block of new Set([r.head.block, r.tail.block])) block.relations.push(r);
  return blocks;
}

/** Fill a block with plain text, and a pair of spans for each word, or part of one, that entities cover. */
function fillBlock(block) {
  block.words.replaceChildren();
  const { doc, words } = block;
  const borders = [...new Set([block.start, block.end, ...block.entities.flatMap((e) => [e.start, e.end])])];
  borders.sort((a, b) => a - b);
  const places = new Map(borders.map((border, index) => [border, index]));
  const pieces = borders.slice(1).map((end, n) => ({ start: borders[n], end, covers: [] }));
  for (const e of block.entities) for (let n = places.get(e.start); n < places.get(e.end); n++) pieces[n].covers.push(e);
  block.segments = [];
  for (const { start, end, covers } of pieces) {
    const text = doc.text.slice(start, end);
    if (!covers.length) {
      words.append(text);
      continue;
    }
    covers.sort((a, b) => a.end - a.start - (b.end - b.start)); // innermost first
    for (const match of text.matchAll(/\s+|\S+/g)) { // lines can break only between these pieces
      const segment = { start: start + match.index, covers, space: !match[0].trim() };
      segment.end = segment.start + match[0].length;
      // the outer span makes its line tall and is shifted for this; the inner span is shifted back
      segment.inner = make("mark", { class: "iter-segment" }, match[0]);
      segment.outer = make("span", {}, segment.inner);
      segment.inner.segment = segment;
      block.segments.push(segment);
      words.append(segment.outer);
    }
  }
  block.spans = new Map(); // "start end" -> its segments
  for (const e of block.entities) {
    const key = spanKey(e);
    if (!block.spans.has(key)) {
      block.spans.set(key, block.segments.filter((s) => e.start <= s.start && s.end <= e.end));
    }
  }
}

const spanKey = (entity) => `${entity.start} ${entity.end}`;

/** Create an HTML element. Text children become text nodes, so that texts are never parsed as markup. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Create an SVG element. */
function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
