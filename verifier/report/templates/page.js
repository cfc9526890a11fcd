"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rows = data.rows, pictures = data.pictures;
  const byId = new Map(rows.map((row) => [row.id, row]));
  const body = document.querySelector("#table tbody"), view = document.getElementById("view");
  const find = document.getElementById("find"), shown = document.getElementById("shown");
  const choosers = { model: "by-model", norm: "by-norm", status: "by-status" };
  let order = { key: null, down: false };

  const make = (tag, text = "", kind = "") => {
    const element = document.createElement(tag);
    if (text !== "") element.textContent = text;
    if (kind) element.className = kind;
    return element;
  };
  const target = (row) => (row.target === null ? "any" : String(row.target));
  const words = (row) =>
    [row.model, row.norm, ...row.views, row.only, row.source, row.input, `class ${row.label}`, `${row.label}→${target(row)}`,
      `target ${target(row)}`, row.status, row.evidence, row.id, row.reason].join(" ").toLowerCase();

  // ------------------------------------------------------------------ the table
  function line(row) {
    const tr = make("tr");
    tr.tabIndex = 0;
    tr.dataset.id = row.id;
    const name = make("td");
    name.append(make("span", "", `key s${row.color % 6}`), row.model);
    if (row.views.length) { const under = make("small", ` under ${row.views.length} views`); under.title = row.views.join("; "); name.append(under); }
    const status = make("td");
    status.append(make("span", row.status, `status ${row.status.replace(" ", "-")}`));
    tr.append(name, make("td", row.norm), make("td", row.input.replace(/^input /, ""), "n"), make("td", String(row.label), "n"),
      make("td", target(row), "n"), status, make("td", row.lower_text, "n"), make("td", row.upper_text, "n"),
      make("td", row.gap_text, "n quiet"), make("td", row.evidence), make("td", row.attempts ? row.seconds.toFixed(2) : "", "n quiet"));
    return tr;
  }
  function compare(a, b) {
    const x = a[order.key], y = b[order.key];
    if (x === y) return 0;
    if (x === null || x === undefined) return 1; // what is not known comes last, whichever way
    if (y === null || y === undefined) return -1;
    const less = typeof x === "string" ? x.localeCompare(y) < 0 : x < y;
    return (less ? -1 : 1) * (order.down ? -1 : 1);
  }
  function draw(changed = new Set()) {
    const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let kept = rows.filter((row) => Object.entries(choosers).every(([key, id]) => {
      const value = document.getElementById(id).value;
      return !value || row[key] === value;
    }));
    if (wanted.length) kept = kept.filter((row) => { const text = words(row); return wanted.every((word) => text.includes(word)); });
    if (order.key) kept = [...kept].sort(compare);
    body.replaceChildren(...kept.map((row) => {
      const tr = line(row);
      if (changed.has(row.id)) tr.classList.add("changed");
      return tr;
    }));
    shown.textContent = kept.length === rows.length ? `${rows.length} instances` : `${kept.length} of ${rows.length} instances`;
  }
  function choices() {
    for (const [key, id] of Object.entries(choosers)) {
      const select = document.getElementById(id), known = new Set([...select.options].map((option) => option.value));
      for (const value of new Set(rows.map((row) => row[key]))) if (!known.has(value)) select.append(new Option(value, value));
    }
  }
  document.querySelectorAll("#table th").forEach((th) => th.firstElementChild.addEventListener("click", () => {
    order = { key: th.dataset.key, down: order.key === th.dataset.key && !order.down };
    document.querySelectorAll("#table th").forEach((other) => other.removeAttribute("aria-sort"));
    th.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    draw();
  }));
  find.addEventListener("input", () => draw());
  Object.values(choosers).forEach((id) => document.getElementById(id).addEventListener("change", () => draw()));
  const chosen = (event) => event.target.closest("tr[data-id]");
  body.addEventListener("click", (event) => { const tr = chosen(event); if (tr) location.hash = `i-${tr.dataset.id}`; });
  body.addEventListener("keydown", (event) => { const tr = chosen(event); if (tr && event.key === "Enter") location.hash = `i-${tr.dataset.id}`; });

  // ------------------------------------------------------------------ one instance
  function image(key, caption) {
    const figure = make("figure"), img = make("img");
    img.src = pictures[key];
    img.alt = caption;
    figure.append(img, make("figcaption", caption));
    return figure;
  }
  function facts(pairs) {
    const list = make("dl");
    for (const [name, value] of pairs) {
      if (value === "" || value === null || value === undefined) continue;
      const place = make("dd");
      place.append(value);
      list.append(make("dt", name), place);
    }
    return list;
  }
  const SVG = "http://www.w3.org/2000/svg";
  function node(name, attributes, text) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }
  const round = (value) => String(Number(value.toPrecision(2)));
  // The bracket over the seconds since its task began, attempts one after the other: the upper end falls, the lower rises.
  function history(row) {
    const points = [];
    let before = 0, last = null, end = 0;
    for (const [attempt, seconds, lower, upper] of row.steps) {
      if (last !== null && attempt !== last) before = end;
      last = attempt;
      end = before + seconds;
      points.push([end, lower, upper]);
    }
    const finite = points.flatMap(([, lower, upper]) => [lower, upper]).filter((value) => value !== null);
    if (points.length < 2 || !finite.length) return null;
    const W = 460, H = 210, L = 54, R = 12, T = 12, B = 36;
    const span = Math.max(...points.map((point) => point[0]), row.seconds) || 1, high = Math.max(...finite) * 1.06 || 1;
    const x = (s) => L + (s / span) * (W - L - R), y = (v) => H - B - (Math.min(v, high) / high) * (H - B - T);
    const svg = node("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img", "aria-label": "the bracket over time" });
    for (const share of [0, 0.5, 1]) {
      const value = share * high / 1.06;
      svg.append(node("path", { class: "rule", d: `M${L} ${y(value)}H${W - R}` }), node("text", { x: L - 6, y: y(value) + 4, "text-anchor": "end" }, round(value)));
      svg.append(node("text", { x: x(share * span), y: H - B + 16, "text-anchor": share === 1 ? "end" : "middle" }, `${round(share * span)} s`));
    }
    const stepped = (place) => {
      const line = [];
      let held = null;
      for (const point of points) {
        const value = point[place] === null ? (place === 2 ? high : 0) : point[place];
        if (held !== null) line.push([point[0], held]);
        line.push([point[0], value]);
        held = value;
      }
      line.push([span, held]);
      return line.map(([s, v]) => `${x(s).toFixed(1)} ${y(v).toFixed(1)}`);
    };
    const lower = stepped(1), upper = stepped(2);
    svg.append(node("path", { class: "band s0", d: `M${[...lower, ...[...upper].reverse()].join("L")}Z` }),
      node("path", { class: "line s1", d: `M${upper.join("L")}` }), node("path", { class: "line s0", d: `M${lower.join("L")}` }),
      node("path", { class: "axis", d: `M${L} ${H - B}H${W - R}` }), node("text", { class: "name", x: (L + W - R) / 2, y: H - 4, "text-anchor": "middle" }, "seconds since its task began"));
    return svg;
  }
  function attacks(row) {
    const table = make("table", "", "numbers"), head = make("tr");
    const last = row.attacks.some(at => at.refused !== undefined) ? "Begun again; refused points" : "Begun again";
    for (const name of ["Attack", "Distance", "÷ minimum", last]) head.append(make("th", name, name === "Attack" ? "" : name === last ? "words" : "n"));
    table.append(make("thead"), make("tbody"));
    table.tHead.append(head);
    for (const at of row.attacks) {
      const tr = make("tr"), again = at.restart;
      const told = again ? `arrives ${again.towards.length ? `from ${again.towards.join(", ")} % of the way to the minimum` : "from nowhere on the way to the minimum"}; from ${again.random} of ${again.directions} random directions` : at.refused !== undefined ? at.refused : at.missed ? "not tried" : "";
      tr.append(make("th", at.name), make("td", at.distance, "n"), make("td", at.ratio === null ? "" : `× ${at.ratio}`, "n"), make("td", told, "quiet words"));
      table.tBodies[0].append(tr);
    }
    return table;
  }
  function show(row) {
    const inside = document.getElementById("view-body");
    const title = make("h2", `${row.label} → ${target(row)}`);
    title.id = "view-title";
    inside.replaceChildren(title, make("p", `${row.model} · ${row.norm} · ${row.input} of ${row.source}`, "quiet"));
    const strip = make("div", "", "strip");
    if (row.input_picture) strip.append(image(row.input_picture, `input, class ${row.label}`));
    if (row.witness_picture) {
      strip.append(image(row.witness_picture, `${row.closed ? "minimal" : "nearest so far"}, seen as ${row.predicted}`));
      strip.append(image(row.change_picture, "change: up vermilion, down blue"));
    }
    for (const at of row.attacks) if (at.picture && at.missed) strip.append(image(at.picture, `${at.name}, × ${at.ratio}`));
    inside.append(strip);
    const pair = make("div", "", "pair"), certificate = row.certificate;
    let link = "";
    if (certificate) {
      link = make("span");
      const a = make("a", `${certificate.bytes.toLocaleString("en")} bytes`);
      a.href = certificate.file;
      a.download = "";
      link.append(a);
    }
    pair.append(facts([
      ["status", row.reason ? `${row.status}: ${row.reason}` : row.status], ["lower end", row.lower_text], ["upper end", row.upper_text], ["gap", row.gap_text],
      ["evidence", row.evidence ? `${row.evidence}: ${row.evidence_text}` : ""], ["float32 lower end", row.float32], ["adversarial under", row.views.join("; ")], ["only", row.only], ["certificate", link],
      ["check it", certificate ? make("code", `verifier certify ${certificate.file} ${certificate.model}${certificate.options}`) : ""],
      ["first found", row.initial && row.initial_attack !== "none" ? `${row.initial} by ${row.initial_attack}` : ""],
      ["margins", row.margins ? `${row.margins[0]} exact, ${row.margins[1]} in ONNX Runtime` : ""],
      ["ReLUs switched", row.switches ? `${row.switches[0]} of ${row.switches[1]}` : ""],
      ["search", row.nodes === null ? "" : `${row.engine}, ${row.nodes.toLocaleString("en")} nodes`],
      ["time", row.attempts ? `${row.seconds.toFixed(2)} s in ${row.attempts} attempt${row.attempts === 1 ? "" : "s"}` : ""], ["instance", row.id],
    ]));
    const chart = history(row);
    if (chart) {
      const figure = make("figure");
      figure.append(chart, make("figcaption", "The bracket over time: no example is closer than the lower line, one lies on the upper."));
      pair.append(figure);
    }
    inside.append(pair);
    if (row.attacks.length) { const wide = make("div", "", "wide"); wide.append(attacks(row)); inside.append(make("h4", "Attacks on this instance"), wide); }
  }
  function follow() {
    const row = location.hash.startsWith("#i-") ? byId.get(location.hash.slice(3)) : undefined;
    if (!row) { if (view.open) view.close(); return; }
    show(row);
    if (!view.open) view.showModal();
    view.scrollTop = 0;
  }
  view.addEventListener("close", () => window.history.replaceState(null, "", location.pathname + location.search));
  view.addEventListener("click", (event) => { if (event.target === view) view.close(); });
  document.getElementById("close").addEventListener("click", () => view.close());
  window.addEventListener("hashchange", follow);

  // ------------------------------------------------------------------ live
  function update(changes) {
    const changed = new Set();
    for (const row of changes.rows) {
      const known = byId.get(row.id);
      if (known) Object.assign(known, row);
      else { rows.push(row); byId.set(row.id, row); }
      changed.add(row.id);
    }
    Object.assign(pictures, changes.pictures);
    choices();
    draw(changed);
    const open = location.hash.slice(3);
    if (view.open && changed.has(open)) show(byId.get(open));
  }
  let drawn = 0;
  async function refresh(url) {
    const answer = await fetch(url);
    if (!answer.ok) return;
    drawn = Date.now();
    const opened = [...document.querySelectorAll("#sections details")].map((each) => each.open);
    document.getElementById("sections").innerHTML = await answer.text();
    document.querySelectorAll("#sections details").forEach((each, place) => { if (place < opened.length) each.open = opened[place]; });
  }
  const live = document.getElementById("live");
  let waiting = null; // tables and charts take the server some time: at most every few seconds
  function later() {
    waiting ??= setTimeout(() => { waiting = null; refresh(live.dataset.sections); }, Math.max(0, drawn + 4000 - Date.now()));
  }
  function connect(url) {
    const source = new EventSource(url), say = (text, on) => { live.textContent = text; live.classList.toggle("on", on); };
    source.addEventListener("open", () => say("live", true));
    source.addEventListener("error", () => {
      say("reconnecting", false);
      // A browser tries again by itself, unless something on the way has answered in the server's place.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => connect(url), 4000);
    });
    source.addEventListener("instances", (event) => update(JSON.parse(event.data)));
    source.addEventListener("state", (event) => {
      const told = JSON.parse(event.data);
      document.getElementById("state").innerHTML = told.html;
      document.title = told.tab;
    });
    source.addEventListener("sections", (event) => { url = `events?since=${event.lastEventId}`; later(); });
  }
  if (live) connect(live.dataset.events);

  choices();
  draw();
  follow();
})();
