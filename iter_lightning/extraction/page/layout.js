// Layout: brackets of entities in levels below each line, and arcs of relations in lanes above it.
// Lengths are CSS pixels, x from the left of the block's element, y from its top.

const LEVEL = 18; // a level of brackets: a bar and a label under it
const LANE = 17; // a lane of arcs: a line with its label above it
const ROOF = 10; // between a line's text and its first lane
const GAP = 4; // between neighbors on a level or in a lane
const ENDS = 9; // between two arcs' ends at an entity

let pen = null;
/** Return the width of a label in pixels. Widths are cached, because labels repeat. */
function labelWidth(text, root) {
  if (!pen) {
    pen = document.createElement("canvas").getContext("2d");
    pen.widths = new Map();
  }
  const font = `600 11px ${getComputedStyle(root).fontFamily}`;
  if (pen.font_ !== font) {
    pen.font = pen.font_ = font;
    pen.widths.clear();
  }
  if (!pen.widths.has(text)) pen.widths.set(text, Math.ceil(pen.measureText(text).width) + 8);
  return pen.widths.get(text);
}

/** Lay out and draw blocks. All measurements precede all changes, so the browser computes the layout only twice. */
function layoutBlocks(blocks, view) {
  for (const block of blocks) if (!block.segments) fillBlock(block); // a block is plain text until it becomes visible
  const plans = blocks.map((block) => plan(block, view));
  for (const { block, lines } of plans) stretch(block, lines);
  for (const { lines } of plans) {
    for (const line of lines) {
      if (line.probe) {
        const rect = line.probe.segment.inner.getClientRects()[line.probe.index];
        line.top = rect.top - line.block.element.getBoundingClientRect().top;
      }
    }
  }
  for (const each of plans) paint(each, view);
}

/** Return the lines of a block with their items, and the level or lane of each item. */
function plan(block, view) {
  const box = block.element.getBoundingClientRect();
  const rtl = getComputedStyle(block.words).direction === "rtl";
  const lines = [];
  for (const segment of block.segments) {
    segment.parts = [];
    Array.from(segment.inner.getClientRects()).forEach((rect, index) => {
      const [top, x0, x1] = [rect.top - box.top, rect.left - box.left, rect.right - box.left];
      let line = lines.find((each) => Math.abs(each.top - top) < rect.height / 2);
      if (!line) {
        line = { block, top, height: rect.height, probe: { segment, index }, marks: [], arcs: [], up: 0, down: 0 };
        lines.push(line);
      }
      if (x1 > x0) segment.parts.push({ line, x0, x1 });
    });
  }
  lines.sort((a, b) => a.top - b.top);
  lines.forEach((line, index) => { line.index = index; });
  const pieces = new Map(); // "start end" -> the pieces of a span, one per line
  for (const [key, segments] of block.spans) pieces.set(key, piecesOf(segments, key));
  const result = { block, lines, width: box.width, rtl };
  result.pieces = pieces;
  for (const e of block.entities) if (e.shown) placeEntity(e, pieces.get(spanKey(e)), result, view);
  for (const line of lines) line.down = stack(line.marks);
  for (const r of block.relations) if (r.shown) placeRelation(r, pieces, result, view);
  for (const line of lines) line.up = lanes(line.arcs, box.width);
  return result;
}

/**
 * Return the pieces of a span, one per line, without white space at their ends. Arcs end between `a0` and `a1`, where
 * there is no inner entity, so that their argument is visible.
 */
function piecesOf(segments, key) {
  const byLine = new Map();
  for (const segment of segments) {
    for (const part of segment.parts) byLine.set(part.line, [...(byLine.get(part.line) || []), { ...part, segment }]);
  }
  return [...byLine].sort(([a], [b]) => a.index - b.index).map(([line, parts]) => {
    const rects = joined(parts);
    const innermost = ({ segment }) => segment.covers.find((entity) => entity.shown);
    const own = joined(parts.filter((part) => innermost(part) && spanKey(innermost(part)) === key));
    const [x0, x1] = [rects[0].x0, Math.max(...rects.map((rect) => rect.x1))];
    const widest = own.reduce((best, rect) => (rect.x1 - rect.x0 > best.x1 - best.x0 ? rect : best), { x0, x1: x0 });
    return { line, rects, x0, x1, a0: own.length ? widest.x0 : x0, a1: own.length ? widest.x1 : x1, ends: [] };
  });
}

/** Return the parts of a line without surrounding white space. There are several if the text direction changes. */
function joined(parts) {
  const words = parts.map((part) => !part.segment.space), rects = [];
  const kept = words.includes(true) ? parts.slice(words.indexOf(true), words.lastIndexOf(true) + 1) : parts;
  for (const { x0, x1 } of kept.sort((a, b) => a.x0 - b.x0)) {
    const last = rects.at(-1);
    if (last && x0 - last.x1 < 1.5) last.x1 = Math.max(last.x1, x1);
    else rects.push({ x0, x1 });
  }
  return rects;
}

function placeEntity(entity, pieces, { width, rtl }, view) {
  pieces.forEach((piece, number) => {
    const text = (number ? "… " : "") + entityLabel(entity);
    const wide = labelWidth(text, view.root);
    const wanted = rtl ? piece.x1 - wide : piece.x0;
    const label = Math.max(0, Math.min(wanted, width - wide));
    piece.line.marks.push({
      entity, text, rects: piece.rects, label, wide, opens: number === 0, closes: number === pieces.length - 1,
      low: Math.min(piece.x0, label), high: Math.max(piece.x1, label + wide), level: 0,
    });
  });
}

/** Assign levels to the brackets of a line without overlaps, outer ones below inner ones. Return their height. */
function stack(marks) {
  const length = (mark) => mark.entity.end - mark.entity.start;
  marks.sort((a, b) => length(a) - length(b) || a.entity.start - b.entity.start || a.entity.index - b.entity.index);
  let levels = 0;
  marks.forEach((mark, number) => {
    const before = marks.slice(0, number);
    const inside = before.filter((m) => mark.entity.start <= m.entity.start && m.entity.end <= mark.entity.end);
    mark.level = Math.max(0, ...inside.map((m) => m.level + 1));
    const apart = (m) => m.level !== mark.level || m.high + GAP <= mark.low || mark.high + GAP <= m.low;
    while (!before.every(apart)) mark.level += 1;
    levels = Math.max(levels, mark.level + 1);
  });
  return levels ? levels * LEVEL + 3 : 0;
}

/** Add one arc if both arguments are on the same line, else a stub at each argument that names the other. */
function placeRelation(relation, pieces, { block, rtl }, view) {
  const [heads, tails] = [relation.head, relation.tail].map((e) => (e.block === block && pieces.get(spanKey(e))) || []);
  const both = view.symmetric.has(relation.type);
  for (const head of heads) {
    const tail = tails.find((piece) => piece.line === head.line);
    if (!tail) continue;
    const arc = { relation, text: relationLabel(relation), from: { piece: head, arrow: both }, to: { piece: tail, arrow: true } };
    arc.wide = labelWidth(arc.text, view.root);
    addArc(arc, head.line);
    return;
  }
  const forward = relation.head.start < relation.tail.start;
  const stub = (piece, other, text, arrow, ahead) => {
    const arc = { relation, text, from: { piece, arrow }, to: null, right: ahead !== rtl };
    arc.wide = labelWidth(text, view.root);
    addArc(arc, piece.line);
  };
  const label = relationLabel(relation);
  if (heads.length) stub(heads[0], relation.tail, `${label} › ${shorten(relation.tail.text)}`, both, forward);
  if (tails.length) stub(tails[0], relation.head, `${shorten(relation.head.text)} › ${label}`, true, !forward);
}

function addArc(arc, line) {
  line.arcs.push(arc);
  const middle = (piece) => (piece.a0 + piece.a1) / 2;
  const { from, to } = arc;
  if (!to) from.away = middle(from.piece) + (arc.right ? arc.wide : -arc.wide);
  else if (from.piece === to.piece) from.away = to.away = middle(from.piece) + 1;
  else [from.away, to.away] = [middle(to.piece), middle(from.piece)];
  for (const end of [from, to]) if (end) end.piece.ends.push(end);
}

/** Assign lanes to the arcs of a line without overlaps, short arcs first. Return their height. */
function lanes(arcs, width) {
  for (const piece of new Set(arcs.flatMap((arc) => [arc.from, arc.to]).flatMap((end) => (end ? [end.piece] : [])))) {
    spread(piece, width);
  }
  for (const arc of arcs) {
    const x0 = arc.from.x;
    const x1 = arc.to ? arc.to.x : Math.max(3, Math.min(width - 3, x0 + (arc.right ? 1 : -1) * (arc.wide + 6)));
    const centre = Math.max(arc.wide / 2, Math.min(width - arc.wide / 2, (x0 + x1) / 2));
    Object.assign(arc, { x0, x1, centre, lane: 0 });
    arc.low = Math.min(x0, x1, centre - arc.wide / 2);
    arc.high = Math.max(x0, x1, centre + arc.wide / 2);
  }
  arcs.sort((a, b) => a.high - a.low - (b.high - b.low) || a.low - b.low || a.relation.index - b.relation.index);
  let count = 0;
  arcs.forEach((arc, number) => {
    const before = arcs.slice(0, number);
    const apart = (a) => a.lane !== arc.lane || a.high + GAP <= arc.low || arc.high + GAP <= a.low;
    while (!before.every(apart)) arc.lane += 1;
    count = Math.max(count, arc.lane + 1);
  });
  for (const arc of arcs) stepAside(arc, arcs);
  return count ? ROOF + count * LANE : 0;
}

/** Move a label along its arc, if possible, to avoid the ends of higher arcs. */
function stepAside(arc, arcs) {
  const legs = arcs.filter((other) => other.lane > arc.lane).flatMap((other) => (other.to ? [other.x0, other.x1] : [other.x0]));
  const room = Math.abs(arc.x1 - arc.x0) / 2 - arc.wide / 2 - 4, middle = (arc.x0 + arc.x1) / 2;
  for (let step = 0; step <= room; step += 4) {
    const centre = [middle - step, middle + step].find((at) => legs.every((leg) => Math.abs(leg - at) > arc.wide / 2));
    if (centre !== undefined) {
      arc.centre = centre;
      return;
    }
  }
}

/** Order the ends of arcs over an entity, near targets outermost, to avoid unnecessary crossings. */
function spread(piece, width) {
  const centre = (piece.a0 + piece.a1) / 2, { ends } = piece;
  const right = (end) => end.away > centre;
  ends.sort((a, b) => right(a) - right(b) || b.away - a.away);
  const step = Math.max(4, Math.min(ENDS, (piece.a1 - piece.a0 - 4) / ends.length));
  ends.forEach((end, number) => {
    end.x = Math.max(2, Math.min(width - 2, centre + (number - (ends.length - 1) / 2) * step));
  });
}

/** Make lines tall enough for their arcs and brackets. */
function stretch(block, lines) {
  const linesOf = (segment) => [...new Set(segment.parts.map((part) => part.line))];
  const carried = new Set(block.segments.map(linesOf).filter((own) => own.length === 1).flat());
  for (const segment of block.segments) {
    const on = linesOf(segment); // several if the word is broken across lines
    const own = on.length > 1 ? on.filter((line) => !carried.has(line)) : on;
    const up = Math.max(3, ...own.map((line) => line.up)), down = Math.max(3, ...own.map((line) => line.down));
    const height = on.length ? on[0].height : 0;
    segment.outer.style.lineHeight = `${height + up + down}px`;
    segment.outer.style.verticalAlign = `${(up - down) / 2}px`;
    segment.inner.style.verticalAlign = `${(down - up) / 2}px`;
  }
}

const shorten = (text) => {
  const points = Array.from(text.replace(/\s+/g, " "));
  return `\u2068${points.length > 18 ? points.slice(0, 17).join("") + "…" : points.join("")}\u2069`; // isolate the text, because its direction may differ
};
