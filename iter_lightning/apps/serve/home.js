"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const EXAMPLE = "Ada Lovelace was born in London, where Charles Babbage lived. She wrote to Michael Faraday of the " +
    "Royal Institution.\n\nThe Royal Institution is in London, England.";
  let schema = null; // the model's own types
  let answer = null;
  let chosen = false; // whether the slider was moved: else the server's own threshold holds
  let running = null;

  const problem = async (response) => {
    try {
      return (await response.json()).error.message;
    } catch {
      return `the server answered ${response.status}`;
    }
  };

  const tell = (message) => {
    at("error").textContent = message;
    at("error").hidden = !message;
  };

  const names = (field) => field.value.split(",").map((name) => name.trim()).filter(Boolean);

  /** Return what the two fields ask for; null if nobody changed them, so that the model's own types are used. */
  const asked = () => {
    const fields = [at("labels"), at("relations")];
    if (fields.every((field) => field.value === field.defaultValue)) return null;
    return { labels: names(fields[0]), relations: names(fields[1]) };
  };

  const example = (more) => {
    const body = JSON.stringify({ text: "Ada Lovelace was born in London.", ...more });
    at("curl").textContent = `curl -H 'Content-Type: application/json' -d '${body}' ` + new URL("extract", document.baseURI).href;
  };

  const describe = async () => {
    const response = await fetch("model");
    if (!response.ok) throw new Error(await problem(response));
    const model = await response.json();
    schema = model.schema;
    const types = `${schema.entity_types.length} entity types, ${schema.relation_types.length} relation types`;
    at("model").textContent = `${model.name} · ${model.open ? "labels of your choice" : types} · ${model.precision} on ${model.device}`;
    at("model").title = [...schema.entity_types, ...schema.relation_types].join(", ");
    at("text").maxLength = model.limits.max_characters;
    at("link").min = model.limits.least_link_threshold;
    at("link").value = model.link_threshold;
    at("lambda").textContent = Number(model.link_threshold).toFixed(2);
    at("link").parentElement.hidden = !model.open && schema.relation_types.length === 0;
    at("labels").defaultValue = schema.entity_types.join(", ");
    at("relations").defaultValue = schema.relation_types.join(", ");
    at("asked").hidden = !model.open;
    if (model.open) example({ labels: ["person", "city"], relations: ["born in"] });
  };

  const extract = async () => {
    if (!at("text").value.trim()) return;
    running?.abort();
    const own = running = new AbortController();
    at("go").disabled = true;
    at("status").textContent = "…";
    tell("");
    const began = performance.now();
    try {
      if (!schema) await describe();
      const labels = asked();
      const body = { text: at("text").value, ...labels };
      if (chosen) body.link_threshold = Number(at("link").value);
      const response = await fetch("extract", {
        method: "POST", signal: own.signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
      });
      if (!response.ok) throw new Error(await problem(response));
      answer = await response.json();
      const [found] = answer.documents;
      at("picture").replaceChildren();
      const shown = labels ? { entity_types: labels.labels, relation_types: labels.relations } : schema;
      window.iterPage.show(at("picture"), { schema: shown, documents: answer.documents });
      const count = (number, one, many) => `${number} ${number === 1 ? one : many}`;
      at("status").textContent = `${count(found.entities.length, "entity", "entities")}, ` +
        `${count(found.relations.length, "relation", "relations")}, ${Math.round(performance.now() - began)} ms`;
      at("json").hidden = false;
    } catch (error) {
      if (error.name === "AbortError") return;
      at("status").textContent = "";
      tell(error instanceof TypeError ? "the server cannot be reached" : error.message);
    } finally {
      if (running === own) at("go").disabled = false;
    }
  };

  const save = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(answer, null, 1)], { type: "application/json" }));
    link.download = "extracted.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  at("form").addEventListener("submit", (event) => { event.preventDefault(); extract(); });
  at("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); extract(); }
  });
  at("link").addEventListener("input", () => { at("lambda").textContent = Number(at("link").value).toFixed(2); });
  at("link").addEventListener("change", () => { chosen = true; extract(); });
  at("json").addEventListener("click", save);
  at("text").value = EXAMPLE;
  example({});
  describe().then(extract).catch((error) => tell(error.message));
})();
