// Elements around the documents: filters, which are also the legend, scores, and tables.

/** Build the panel of filters. `update(facets)` sets the counts. */
function buildFilters(view) {
  const updates = [];
  const change = (rejudge) => {
    if (rejudge) view.judgeAll();
    view.apply();
  };
  const groups = [searchField(view, change), ...sliders(view, change)];
  if (view.judged) groups.push(verdictBoxes(view, change, updates));
  for (const [kind, letter, legend] of [["entities", "e", "Entity types"], ["relations", "r", "Relation types"]]) {
    if (view.types[kind].length) groups.push(typeBoxes(view, kind, letter, legend, change, updates));
  }
  groups.push(switches(view, change));
  const panel = make("details", { class: "iter-panel" }, make("summary", {}, "Filters and legend"), ...groups);
  const aside = make("aside", { class: "iter-filters", "aria-label": "Filters and legend" }, panel);
  panel.open = view.root.getBoundingClientRect().width >= 860;
  aside.update = (facets) => updates.forEach((update) => update(facets));
  return aside;
}

function searchField(view, change) {
  let timer = 0;
  const input = make("input", {
    "type": "search", "class": "iter-search", "placeholder": "Search the text ( / )", "aria-label": "Search the text",
    "oninput": () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        view.query = input.value.trim();
        change(false);
        about.textContent = view.query ? `${plural(view.hits.length, "sentence")} · Enter goes to the next` : "";
      }, 120);
    },
    "onkeydown": (event) => { if (event.key === "Enter") view.nextHit(); },
  });
  const about = make("div", { "class": "iter-hits", "role": "status" });
  return make("div", { class: "iter-group" }, input, about);
}

function sliders(view, change) {
  const kinds = [["entity", "Entities"], ["relation", "Relations"]].filter(([, name]) => view.types[name.toLowerCase()].length);
  return kinds.map(([kind, name]) => {
    const value = make("output", {}, "0.00");
    let frame = 0;
    const input = make("input", {
      "type": "range", "min": "0", "max": "1", "step": "0.01", "value": "0", "class": `iter-least-${kind}`,
      "aria-label": `${name}: minimum probability`,
      "oninput": () => {
        value.textContent = Number(input.value).toFixed(2);
        view.least[kind] = Number(input.value);
        cancelAnimationFrame(frame);
        frame = requestAnimationFrame(() => change(true));
      },
    });
    return make("label", { class: "iter-group iter-slider" }, make("span", {}, `${name}, score at least`), value, input);
  });
}

function typeBoxes(view, kind, letter, legend, change, updates) {
  const boxes = view.types[kind].map((type) => {
    const count = make("span", { class: "iter-count" }, "0");
    const input = make("input", {
      type: "checkbox", value: type, checked: true,
      onchange: () => {
        view.chosen[kind][input.checked ? "add" : "delete"](type);
        change(false);
      },
    });
    const swatch = make("span", { "class": `iter-swatch iter-swatch-${letter}`, "aria-hidden": "true" });
    swatch.style.setProperty("--c", view.colorOfType(letter, type));
    updates.push((facets) => {
      count.textContent = number(facets[kind].get(type) || 0);
      swatch.classList.toggle("iter-grey", view.byVerdict);
    });
    return { input, label: make("label", { class: "iter-box" }, input, swatch, make("bdi", {}, type), count) };
  });
  const all = (on) => make("button", {
    "type": "button", "class": "iter-button", "aria-label": `${legend}: ${on ? "all" : "none"}`,
    "onclick": () => {
      for (const { input } of boxes) input.checked = on;
      view.chosen[kind] = new Set(on ? view.types[kind] : []);
      change(false);
    },
  }, on ? "all" : "none");
  return make("fieldset", { class: `iter-group iter-types-${letter}` },
    make("legend", {}, legend), make("span", { class: "iter-buttons" }, all(true), all(false)), ...boxes.map((box) => box.label));
}

function verdictBoxes(view, change, updates) {
  const rows = VERDICTS.map((verdict) => {
    const counts = ["entities", "relations"].map((kind) => {
      const cell = make("td", { class: "iter-count" }, "0");
      updates.push((facets) => { cell.textContent = number(facets.verdicts.get(`${kind} ${verdict}`) || 0); });
      return cell;
    });
    const input = make("input", {
      type: "checkbox", value: verdict, checked: true,
      onchange: () => {
        view.chosen.verdicts[input.checked ? "add" : "delete"](verdict);
        change(false);
      },
    });
    const swatch = make("span", { "class": "iter-swatch iter-swatch-e", "aria-hidden": "true", "data-verdict": verdict });
    swatch.style.setProperty("--c", `var(--iter-${verdict.replace(" ", "-")})`);
    updates.push(() => swatch.classList.toggle("iter-grey", !view.byVerdict));
    return make("tr", { "data-verdict": verdict },
      make("th", { scope: "row" }, make("label", { class: "iter-box" }, input, swatch, verdict)), ...counts);
  });
  const head = ["", "entities", "relations"].map((name) => make("th", { scope: "col" }, name));
  const by = (value, text) => make("label", { class: "iter-radio" }, make("input", {
    type: "radio", name: `iter-color-${view.docs[0].number}`, value, checked: (value === "result") === view.byVerdict,
    onchange: () => {
      view.byVerdict = value === "result";
      change(false);
    },
  }), text);
  return make("fieldset", { class: "iter-group iter-verdicts" }, make("legend", {}, "Found against gold"),
    make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)),
    make("div", { "role": "radiogroup", "aria-label": "Color by" }, "Color by ", by("result", "result"), by("type", "type")));
}

function switches(view, change) {
  const input = make("input", {
    type: "checkbox", class: "iter-only",
    onchange: () => {
      view.onlyMatches = input.checked;
      change(false);
    },
  });
  return make("div", { class: "iter-group" }, make("label", { class: "iter-box" }, input, "Only sentences that match"));
}

/** Build the table of micro scores of the documents, with their definition. */
function buildScores(view) {
  const docs = view.docs.filter((doc) => doc.judged && doc.found);
  const tasks = TASKS.filter((task) => task === "NER" || view.types.relations.length);
  const rows = tasks.map((task) => {
    const result = scores(docs, task, (type) => view.chosen[task === "NER" ? "entities" : "relations"].has(type));
    const percent = ["precision", "recall", "f1"].map((name) => (result[name] === null ? "–" : (100 * result[name]).toFixed(1)));
    const cells = [...percent, ...["tp", "fp", "fn"].map((name) => number(result[name]))];
    return make("tr", { "data-task": task }, make("th", { scope: "row" }, task), ...cells.map((cell) => make("td", {}, cell)));
  });
  const head = ["", "Precision", "Recall", "F1", "TP", "FP", "FN"].map((name) => make("th", { scope: "col" }, name));
  const about = `Micro, over the types chosen in ${plural(docs.length, "document")} with gold; scores at or above the sliders'. `
    + "NER: span and type right. RE: both arguments' spans and the relation type right. RE+: RE and both entity types. "
    + "match: position · symmetric: once.";
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  return make("div", {}, table, make("p", {}, about));
}

/** Build the table of relations of a document, with rows that are created when it is opened. */
function buildTable(doc, view) {
  const title = make("summary", {});
  const details = make("details", { class: "iter-relations", ontoggle: () => details.open && fillTable(doc, view) }, title);
  details.open = doc.relations.filter((r) => !r.gold).length <= OPEN_ROWS;
  details.update = () => {
    const shown = doc.relations.filter((r) => r.shown).length;
    title.textContent = plural(shown, "relation");
    details.hidden = !shown;
    for (const r of doc.relations) {
      if (!r.row) continue;
      r.row.hidden = !r.shown;
      r.row.querySelector(".iter-result")?.replaceChildren(verdictText(r));
    }
  };
  for (const item of [...doc.entities, ...doc.relations]) item.doc = doc;
  return details;
}

function fillTable(doc, view) {
  if (doc.rows) return;
  doc.rows = true;
  const rows = doc.relations.map((r) => {
    const side = (e) => make("td", {}, make("bdi", {}, e.text), make("small", {}, ` ${e.type}`));
    r.row = make("tr", {
      "class": "iter-row", "tabindex": "0", "aria-label": describe(r),
      "onclick": () => r.head.block.element.scrollIntoView({ block: "center", behavior: "smooth" }),
      "onkeydown": (event) => { if (event.key === "Enter") r.row.click(); },
    }, side(r.head), make("td", { class: "iter-type" }, r.type), side(r.tail),
    make("td", { class: "iter-score" }, r.gold ? "" : r.score.toFixed(2)),
    doc.judged ? make("td", { class: "iter-result" }, verdictText(r)) : null);
    r.row.item = r;
    r.row.hidden = !r.shown;
    return r.row;
  });
  const names = ["Head", "Relation", "Tail", "Score", ...(doc.judged ? ["Result"] : [])];
  const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)));
  doc.table.append(make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}

function verdictText(relation) {
  const { verdict, partner } = relation;
  if (!partner) return verdict || "";
  return `${verdict}, gold: ${partner.type} (${partner.head.type} → ${partner.tail.type})`;
}
