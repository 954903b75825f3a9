// Draw one block: an SVG over its text.

const SIGNS = { "missed": "− ", "spurious": "+ ", "wrong type": "" };

function entityLabel(entity) {
  if (entity.partner) return `${entity.type} ≠ ${entity.partner.type}`;
  return (SIGNS[entity.verdict] || "") + entity.type;
}

function relationLabel(relation) {
  if (!relation.partner) return (SIGNS[relation.verdict] || "") + relation.type;
  if (relation.partner.type !== relation.type) return `${relation.type} ≠ ${relation.partner.type}`;
  return `${relation.type} ≠ argument type`;
}

/** Return the tooltip of an item. */
function describe(item) {
  const parts = item.head
    ? [`${item.type}: ${item.head.text} (${item.head.type}) → ${item.tail.text} (${item.tail.type})`]
    : [`${item.type}: ${item.text}`];
  if (!item.gold) parts.push(`score ${item.score.toFixed(2)}`);
  if (item.verdict) parts.push(item.verdict);
  if (item.partner) parts.push(`gold: ${item.partner.type}${item.head ? ` (${item.partner.head.type} → ${item.partner.tail.type})` : ""}`);
  return parts.join(" · ");
}

function paint({ block, lines, pieces }, view) {
  for (const item of [...block.entities, ...block.relations]) item.marks = item.marks.filter((mark) => mark.block !== block);
  const brackets = draw("g"), arcs = draw("g"), labels = draw("g");
  for (const line of lines) {
    for (const mark of line.marks) bracket(mark, line, brackets, view);
    for (const arc of [...line.arcs].reverse()) arch(arc, line, arcs, labels, view); // draw low arcs over the ends of high ones
  }
  block.svg.replaceChildren(brackets, arcs, labels);
  block.tint.replaceChildren(...block.entities.filter((e) => e.shown).sort((a, b) => b.end - b.start - (a.end - a.start))
    .flatMap((e) => pieces.get(spanKey(e)).flatMap((piece) => piece.rects.map((rect) => tint(e, rect, piece.line, view)))));
  for (const segment of block.segments) {
    segment.inner.title = segment.covers.filter((entity) => entity.shown).map(describe).join("\n");
  }
}

function group(item, kind, block, view) {
  const node = draw("g", { class: `iter-${kind}`, "data-verdict": item.verdict || "none" }, draw("title"));
  node.firstChild.textContent = describe(item);
  node.style.setProperty("--c", view.colorOf(item));
  node.item = item;
  node.block = block;
  item.marks.push(node);
  return node;
}

/** Draw the background of an entity. Inner entities cover outer ones. */
function tint(entity, { x0, x1 }, line, view) {
  const node = draw("rect", { class: "iter-tint", x: x0, y: line.top, width: x1 - x0, height: line.height + 2, rx: 2 });
  node.style.setProperty("--c", view.colorOf(entity));
  node.block = line.block;
  entity.marks.push(node);
  return node;
}

const round = (value) => Math.round(value * 2) / 2;

function tag(x, y, wide, text) {
  const words = draw("text", { x: round(x + wide / 2), y: round(y + 10.5) });
  words.textContent = text;
  return [draw("rect", { class: "iter-tag", x: round(x), y: round(y), width: wide, height: 14, rx: 2 }), words];
}

/** Draw a bar under an entity with ticks at its start and end, and its label. */
function bracket(mark, line, layer, view) {
  const node = group(mark.entity, "bracket", line.block, view);
  const y = line.top + line.height + 2 + mark.level * LEVEL;
  for (const rect of mark.rects) {
    const [x0, x1] = [rect.x0 + 0.5, Math.max(rect.x0 + 2, rect.x1 - 0.5)];
    node.append(draw("path", { class: "iter-bar", d: `M${x0} ${y + 1.5}H${x1}` }));
  }
  node.append(...tag(mark.label, y + 3, mark.wide, mark.text));
  layer.append(node);
}

/** Draw an arc between two arguments, with an arrow at the tail and a label. */
function arch(arc, line, layer, labels, view) {
  const node = group(arc.relation, "arc", line.block, view);
  const foot = line.top - 1, roof = Math.round(line.top - ROOF - arc.lane * LANE) + 0.5;
  const side = Math.sign(arc.x1 - arc.x0) || 1, bend = Math.min(5, Math.abs(arc.x1 - arc.x0) / 2);
  let path = `M${arc.x0} ${foot}V${roof + bend}Q${arc.x0} ${roof} ${arc.x0 + side * bend} ${roof}`;
  if (arc.to) path += `H${arc.x1 - side * bend}Q${arc.x1} ${roof} ${arc.x1} ${roof + bend}V${foot}`;
  else path += `H${arc.x1}`;
  node.append(draw("path", { class: "iter-line", d: path }));
  for (const [end, x] of [[arc.from, arc.x0], [arc.to, arc.x1]]) {
    if (end?.arrow) node.append(draw("path", { class: "iter-arrow", d: `M${x - 3.5} ${foot - 6}L${x} ${foot}L${x + 3.5} ${foot - 6}Z` }));
  }
  if (!arc.to) node.append(draw("circle", { class: "iter-more", cx: arc.x1, cy: roof, r: 2.5 })); // the relation continues on another line
  layer.append(node);
  const label = group(arc.relation, "arc", line.block, view);
  label.append(...tag(arc.centre - arc.wide / 2, roof - 15, arc.wide, arc.text));
  labels.append(label);
}
