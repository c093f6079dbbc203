"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rows = data.rows, classes = data.classes, store = `puriflow-review-${data.review}`;
  const at = (id) => document.getElementById(id);
  const make = (name, text, kind) => {
    const element = document.createElement(name);
    if (text !== undefined) { element.textContent = text; element.dir = "auto"; }
    if (kind) element.className = kind;
    return element;
  };
  const nameOf = (label) => (label >= 0 ? classes[label] : "no label");
  let place = 0, unsaved = false, decisions = new Map();

  const remember = () => {
    try { localStorage.setItem(store, JSON.stringify({ who: at("who").value, decisions: [...decisions] })); } catch { /* a browser may forbid it */ }
  };
  const recall = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(store) || "{}");
      decisions = new Map((kept.decisions || []).filter(([id]) => rows.some((row) => row.id === id)));
      at("who").value = kept.who || "";
    } catch { /* nothing was kept */ }
  };

  const decide = (choice, label) => {
    const row = rows[place];
    decisions.set(row.id, { choice, label, when: new Date().toISOString() });
    unsaved = true;
    remember();
    const next = rows.findIndex((other, i) => i > place && !decisions.has(other.id));
    const first = rows.findIndex((other) => !decisions.has(other.id));
    const words = choice === "skip" ? "skipped" : `now ${nameOf(label)}`;
    if (next >= 0 || first >= 0) place = next >= 0 ? next : first;
    show(`${row.id}: ${words}.${first < 0 ? " All rows are decided: save them." : ""}`);
  };
  const choose = (label) => {
    const row = rows[place];
    decide(label === row.suggested ? "accept" : label === row.given ? "keep" : "choose", label);
  };
  const accept = () => { if (rows[place].suggested >= 0) choose(rows[place].suggested); };
  const keep = () => { if (rows[place].given >= 0) choose(rows[place].given); };
  const undo = () => { decisions.delete(rows[place].id); unsaved = true; remember(); show("Taken back."); };
  const move = (step) => { place = Math.min(Math.max(place + step, 0), rows.length - 1); show(""); };
  const open = () => {
    const next = rows.findIndex((row, i) => i > place && !decisions.has(row.id));
    const any = next >= 0 ? next : rows.findIndex((row) => !decisions.has(row.id));
    if (any >= 0) { place = any; show(""); } else show("All rows are decided: save them.");
  };

  const show = (said) => {
    const row = rows[place], done = decisions.get(row.id);
    at("picture").hidden = !row.picture;
    if (row.picture) { at("picture").src = row.picture; at("picture").className = row.picture.startsWith("data:image/png") ? "tiny" : ""; at("picture").alt = `picture of ${row.id}`; }
    at("fields").replaceChildren(...row.fields.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
    at("place").textContent = `${place + 1} of ${rows.length}`;
    at("id").textContent = row.id;
    at("given").textContent = nameOf(row.given);
    at("suggested").textContent = row.suggested >= 0 ? nameOf(row.suggested) : "nothing yet";
    at("answer").className = row.given === row.suggested ? "agreed" : "";
    at("accepted").textContent = row.suggested >= 0 ? nameOf(row.suggested) : "";
    at("kept").textContent = row.given >= 0 ? nameOf(row.given) : "";
    at("accept").disabled = row.suggested < 0;
    at("keep").disabled = row.given < 0;
    at("accept").hidden = row.suggested < 0;
    for (const name of ["accept", "keep", "skip"]) at(name).setAttribute("aria-pressed", String(Boolean(done) && done.choice === name));
    at("likely").replaceChildren(...row.likely.map(([label, share], i) => {
      const item = make("li"), button = make("button"), fill = make("span", undefined, "fill");
      fill.style.width = `${100 * share}%`;
      button.type = "button";
      button.setAttribute("aria-pressed", String(Boolean(done) && done.label === label));
      button.append(fill, make("kbd", String(i + 1)), make("span", nameOf(label), "name"), make("span", `${Math.round(100 * share)} %`, "muted"));
      button.addEventListener("click", () => choose(label));
      item.append(button);
      return item;
    }));
    at("near").replaceChildren(...row.near.map((other) => {
      const kind = other.label === row.given ? "given" : other.label === row.suggested ? "suggested" : "";
      const figure = make("figure", undefined, `${other.picture ? "" : "text "}${row.given === row.suggested && kind ? "suggested" : kind}`);
      if (other.picture) { const img = make("img"); img.src = other.picture; img.alt = ""; figure.append(img); }
      figure.append(make("figcaption", nameOf(other.label) + (other.trusted ? " ✓" : "")));
      if (!other.picture && other.words) figure.append(make("span", other.words, "muted"));
      return figure;
    }));
    at("bar").value = decisions.size;
    at("count").textContent = `${decisions.size} of ${rows.length}`;
    at("undo").disabled = !done;
    at("back").disabled = place === 0;
    at("forward").disabled = place === rows.length - 1;
    at("save").disabled = at("csv").disabled = decisions.size === 0;
    const now = done ? (done.choice === "skip" ? "Skipped." : `Decided: ${nameOf(done.label)}.`) : "";
    at("state").textContent = said || now;
  };

  const records = () => rows.filter((row) => decisions.has(row.id)).map((row) => {
    const { choice, label, when } = decisions.get(row.id);
    return { sample_id: row.id, label: choice === "skip" ? null : classes[label], choice, drawn: row.drawn ? "random" : "selected", when };
  });
  const download = (name, type, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    unsaved = false;
    at("state").textContent = `Saved ${decisions.size} decisions as ${name}.`;
  };
  const fileName = (suffix) => `review-${data.dataset}-${data.review.slice(0, 8)}.${suffix}`;
  const saveJson = () => download(fileName("json"), "application/json", JSON.stringify({
    format: "puriflow-review", version: 1, review: data.review, dataset: data.dataset, who: at("who").value.trim(), decisions: records(),
  }, null, 1));
  const quoted = (value) => (value === null ? "" : `"${String(value).replaceAll('"', '""')}"`);
  const saveCsv = () => {
    const names = ["sample_id", "label", "choice", "drawn", "when"], who = at("who").value.trim();
    const lines = records().map((r) => [...names.map((n) => r[n]), who, data.review].map(quoted).join(","));
    download(fileName("csv"), "text/csv", [[...names, "who", "review"].join(","), ...lines].join("\n") + "\n");
  };

  const keys = { Enter: accept, a: accept, k: keep, s: () => decide("skip", -1), u: undo, n: open, ArrowLeft: () => move(-1), ArrowRight: () => move(1) };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target.closest("input"), button = event.target.closest("button");
    if (field) { if (event.key === "Escape") field.blur(); return; }
    if (button && (event.key === "Enter" || event.key === " ")) return; // the button is meant
    const likely = rows[place].likely[Number(event.key) - 1];
    const act = event.key === "/" ? () => at("choose").focus() : likely ? () => choose(likely[0]) : keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act) { event.preventDefault(); act(); }
  });
  at("choose").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    const typed = event.target.value.trim(), lower = typed.toLowerCase();
    const starts = classes.filter((name) => name.toLowerCase().startsWith(lower));
    const exact = classes.indexOf(typed) >= 0 ? typed : classes.find((name) => name.toLowerCase() === lower) ?? (starts.length === 1 ? starts[0] : undefined);
    if (!typed || exact === undefined) { at("state").textContent = typed ? `There is no class ${typed}${starts.length > 1 ? `: ${starts.length} begin so` : ""}.` : ""; return; }
    event.target.value = "";
    event.target.blur();
    choose(classes.indexOf(exact));
  });
  const buttons = { accept, keep, skip: keys.s, undo, open, back: () => move(-1), forward: () => move(1), save: saveJson, csv: saveCsv };
  for (const [name, act] of Object.entries(buttons)) at(name).addEventListener("click", (event) => { if (event.detail) at(name).blur(); act(); });
  at("who").addEventListener("input", remember);
  addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
  at("classes").replaceChildren(...classes.map((name) => { const option = document.createElement("option"); option.value = name; return option; }));
  recall();
  show("");
  if (decisions.size) open();
})();
