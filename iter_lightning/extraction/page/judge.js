// Compare predictions with gold as iter_lightning/metrics/functional.py does: sets of positions, symmetric relations once.
// NER: span and type. RE: both arguments' spans and the relation type. RE+: RE and both entity types.

const VERDICTS = ["correct", "missed", "spurious", "wrong type"];
const TASKS = ["NER", "RE", "RE+"];

/** Set, for every item, whether it passes the two thresholds and, if there is gold, its verdict. */
function judge(doc, least, symmetric) {
  for (const e of doc.entities) e.present = e.gold || e.score >= least.entity;
  for (const r of doc.relations) r.present = r.gold || (r.score >= least.relation && r.head.present && r.tail.present);
  for (const item of [...doc.entities, ...doc.relations]) item.verdict = item.partner = null;
  if (!doc.judged) return;
  compare(doc.entities, entityKey, (e) => [spanKey(e)]);
  compare(doc.relations, (r) => relationKey(r, symmetric, true), (r) => {
    const [head, tail] = [spanKey(r.head), spanKey(r.tail)];
    return symmetric.has(r.type) ? [`${head} ${tail}`, `${tail} ${head}`] : [`${head} ${tail}`];
  });
  doc.counts = tally(doc, symmetric);
}

const entityKey = (e) => `${spanKey(e)} ${e.type}`;

function relationKey(r, symmetric, strict) {
  const ends = [r.head, r.tail].map(strict ? entityKey : spanKey);
  if (symmetric.has(r.type)) ends.sort();
  return JSON.stringify([r.type, ...ends]);
}

/** Set verdicts: items with equal keys are correct; others at the same place have a wrong type. */
function compare(items, keyOf, placesOf) {
  const found = items.filter((item) => item.present && !item.gold), gold = items.filter((item) => item.gold);
  const goldKeys = new Set(gold.map(keyOf)), foundKeys = new Set(found.map(keyOf));
  for (const item of found) item.verdict = goldKeys.has(keyOf(item)) ? "correct" : "spurious";
  for (const item of gold) item.verdict = foundKeys.has(keyOf(item)) ? "correct" : "missed";
  const waiting = new Map();
  for (const item of gold.filter((each) => each.verdict === "missed")) {
    for (const place of placesOf(item)) waiting.set(place, [...(waiting.get(place) || []), item]);
  }
  for (const sameType of [true, false]) { // relations may differ only in the type of an argument
    for (const item of found.filter((each) => each.verdict === "spurious")) {
      const candidates = placesOf(item).flatMap((place) => waiting.get(place) || []);
      const other = candidates.find((each) => !each.partner && (!sameType || each.type === item.type));
      if (!other) continue;
      [item.verdict, other.verdict] = ["wrong type", "wrong type"];
      [item.partner, other.partner] = [other, item];
    }
  }
}

/** Return the counts {tp, fp, fn} of a document for each task and type. */
function tally(doc, symmetric) {
  const keys = {
    "NER": [doc.entities, entityKey],
    "RE": [doc.relations, (r) => relationKey(r, symmetric, false)],
    "RE+": [doc.relations, (r) => relationKey(r, symmetric, true)],
  };
  const counts = {};
  for (const [task, [items, keyOf]] of Object.entries(keys)) {
    const [found, gold] = [false, true].map((side) =>
      new Map(items.filter((i) => i.gold === side && i.present).map((i) => [keyOf(i), i.type])));
    const byType = counts[task] = new Map();
    const count = (type, what) => {
      if (!byType.has(type)) byType.set(type, { tp: 0, fp: 0, fn: 0 });
      byType.get(type)[what] += 1;
    };
    for (const [key, type] of found) count(type, gold.has(key) ? "tp" : "fp");
    for (const [key, type] of gold) if (!found.has(key)) count(type, "fn");
  }
  return counts;
}

/** Return micro precision, recall, and F1 over documents and selected types; null if a denominator is 0. */
function scores(docs, task, chosen) {
  const sum = { tp: 0, fp: 0, fn: 0 };
  for (const doc of docs) {
    for (const [type, counts] of doc.counts[task]) {
      if (chosen(type)) for (const what of Object.keys(sum)) sum[what] += counts[what];
    }
  }
  const share = (part, whole) => (whole ? part / whole : null);
  return {
    ...sum, precision: share(sum.tp, sum.tp + sum.fp), recall: share(sum.tp, sum.tp + sum.fn),
    f1: share(2 * sum.tp, 2 * sum.tp + sum.fp + sum.fn),
  };
}
