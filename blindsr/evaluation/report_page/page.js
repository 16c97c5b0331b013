"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const one = (selector, root = document) => root.querySelector(selector);

/* The metric shown. */
let metric = one("[name=metric]:checked")?.value;
for (const radio of all("[name=metric]")) {
  radio.addEventListener("change", () => {
    metric = radio.value;
    for (const element of all("[data-metric]")) element.hidden = element.dataset.metric !== metric;
    document.dispatchEvent(new Event("metric"));
  });
}

/* Sorting: the best first, then the worst first, then as written; a row without a number stays last. */
const number = (cell) => parseFloat(cell?.textContent.replace("−", "-").replace("∞", "Infinity"));
function sort(table, column, turn) {
  for (const body of table.tBodies) {
    const down = (body.dataset.best === "high") === (turn === 1);
    const value = (row) => {
      const n = number(row.cells[column]);
      return Number.isNaN(n) ? Infinity : down ? -n : n;
    };
    body.written ??= [...body.rows];
    const order = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0);
    body.append(...(turn ? [...body.written].sort(order) : body.written));
  }
  table.sorted = { column, turn };
  mark(table);
}
/* Which way the column sorted by runs: that depends on the metric shown. */
function mark(table) {
  const best = one("tbody:not([hidden])", table)?.dataset.best;
  const { column, turn } = table.sorted ?? {};
  for (const button of all("[data-column]", table)) {
    const way = (best === "high") === (turn === 1) ? "descending" : "ascending";
    button.closest("th").setAttribute("aria-sort", turn && button.dataset.column === column ? way : "none");
  }
}
for (const table of all("table")) {
  for (const button of all("[data-column]", table)) {
    button.addEventListener("click", () => {
      const { column, turn } = table.sorted ?? {};
      sort(table, button.dataset.column, column === button.dataset.column ? (turn + 1) % 3 : 1);
    });
  }
  document.addEventListener("metric", () => mark(table));
}

/* The viewer of pictures. */
function view(section) {
  const data = JSON.parse(one("#pictures").textContent);
  const stage = one(".stage", section);
  const wipe = one(".wipe", section);
  const fields = all("[data-field]", section);
  const sides = ["left", "right"];
  const part = (tag, side) => one(`${tag}[data-side=${side}]`, section);
  const named = { lr: "low resolution", truth: "truth" };
  const at = { zoom: 1, x: 0, y: 0 };
  let entry = data.entries[0];

  const fill = (select, values, chosen, text = String) => {
    select.replaceChildren(...values.map((v) => new Option(text(v), v, false, String(v) === String(chosen))));
  };

  /* Zoom and place, the same for both pictures; no edge comes inside the stage. */
  function place() {
    const { clientWidth: w, clientHeight: h } = stage;
    at.zoom = Math.min(32, Math.max(1, at.zoom));
    at.x = Math.min(0, Math.max(w * (1 - at.zoom), at.x));
    at.y = Math.min(0, Math.max(h * (1 - at.zoom), at.y));
    stage.style.setProperty("--zoom", at.zoom);
    stage.style.setProperty("--x", `${at.x}px`);
    stage.style.setProperty("--y", `${at.y}px`);
    stage.classList.toggle("zoomed", at.zoom > 1);
    for (const img of all("img", stage)) img.classList.toggle("crisp", w * at.zoom > 2 * img.naturalWidth);
  }
  function zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
    const before = at.zoom;
    at.zoom = Math.min(32, Math.max(1, at.zoom * factor));
    at.x = x - ((x - at.x) * at.zoom) / before;
    at.y = y - ((y - at.y) * at.zoom) / before;
    place();
  }
  function move(x, y) {
    at.x += x;
    at.y += y;
    place();
  }
  function split(percent) {
    wipe.value = percent;
    stage.style.setProperty("--split", wipe.value);
  }

  function tell() {
    for (const side of sides) {
      const value = entry.numbers[part("select", side).value]?.[metric];
      const [label, unit = ""] = (data.labels[metric] ?? "").split(", ");
      part("output", side).textContent = value ? `${label} ${value} ${unit}` : "";
    }
  }
  function show() {
    const shown = sides.map((side) => part("select", side).value);
    sides.forEach((side, i) => {
      const img = part("img", side);
      img.src = data.pictures[entry.pictures[shown[i]]];
      img.alt = named[shown[i]] ?? shown[i];
    });
    const kernels = [...new Set(["true", ...shown])].filter((name) => name in entry.kernels);
    one(".kernels", section).replaceChildren(...kernels.map((name) => {
      const figure = document.createElement("figure");
      const img = new Image();
      img.src = data.kernels[entry.kernels[name]];
      img.alt = "";
      const caption = document.createElement("figcaption");
      caption.textContent = name === "true" ? "true kernel" : `kernel, ${name}`;
      figure.append(img, caption);
      return figure;
    }));
    tell();
  }
  /* Choose the entry with this value of one field, and as many of the other choices as there are. */
  function choose(field, value) {
    const likeness = (e) => fields.filter((f) => e[f.dataset.field] === entry[f.dataset.field]).length;
    const fitting = data.entries.filter((e) => field === undefined || String(e[field]) === value);
    entry = fitting.reduce((best, e) => (likeness(e) > likeness(best) ? e : best));
    for (const select of fields) {
      const name = select.dataset.field;
      const values = [...new Set(data.entries.map((e) => e[name]))];
      values.sort((a, b) => String(a).localeCompare(String(b), undefined, { numeric: true }));
      fill(select, values, entry[name], name === "scale" ? (v) => `×${v}` : String);
      select.parentElement.hidden = values.length < 2 && values[0] === "";
    }
    const known = ["lr", ...data.methods, "truth"];
    const there = Object.keys(entry.pictures);
    const names = [...known.filter((n) => there.includes(n)), ...there.filter((n) => !known.includes(n))];
    const usual = {
      left: ["bicubic", "lr", names[0]],
      right: ["blind", ...names.filter((n) => n.startsWith("blind")), ...names.filter((n) => !(n in named) && n !== "bicubic"), names.at(-1)],
    };
    for (const side of sides) {
      const select = part("select", side);
      fill(select, names, [select.value, ...usual[side]].find((n) => names.includes(n)), (n) => named[n] ?? n);
    }
    show();
  }

  for (const select of fields) select.addEventListener("change", () => choose(select.dataset.field, select.value));
  for (const side of sides) part("select", side).addEventListener("change", show);
  for (const img of all("img", stage)) {
    img.addEventListener("load", () => {
      const ratio = img.naturalWidth / img.naturalHeight;
      stage.style.aspectRatio = ratio;
      for (const e of all(".compare, .sides", section)) e.style.setProperty("--wide", `calc(min(48rem, 80vh * ${ratio}))`);
      place();
    });
  }
  document.addEventListener("metric", tell);
  new ResizeObserver(place).observe(stage);
  wipe.addEventListener("input", () => split(wipe.value));

  for (const button of all("[data-zoom]", section)) {
    button.addEventListener("click", () => zoom({ in: 1.5, out: 1 / 1.5, all: 0 }[button.dataset.zoom]));
  }
  stage.addEventListener("keydown", (event) => {
    const act = {
      "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: () => zoom(0),
      ArrowLeft: () => move(40, 0), ArrowRight: () => move(-40, 0),
      ArrowUp: () => move(0, 40), ArrowDown: () => move(0, -40),
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
  stage.addEventListener("wheel", (event) => {
    if (event.deltaY > 0 && at.zoom === 1) return; // nothing to zoom out of: the page scrolls
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });

  /* One pointer on the handle wipes, elsewhere moves; two pointers pinch. */
  const pointers = new Map();
  let wiping = false;
  stage.addEventListener("pointerdown", (event) => {
    wiping = event.target.className === "handle";
    pointers.set(event.pointerId, event);
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const box = stage.getBoundingClientRect();
    pointers.set(event.pointerId, event);
    const [other] = [...pointers.values()].filter((p) => p.pointerId !== event.pointerId);
    if (other) {
      const apart = (p) => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY) || 1;
      zoom(apart(event) / apart(last), (event.clientX + other.clientX) / 2 - box.left, (event.clientY + other.clientY) / 2 - box.top);
    } else if (wiping) {
      split((100 * (event.clientX - box.left)) / box.width);
    } else {
      move(event.clientX - last.clientX, event.clientY - last.clientY);
    }
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (e) => pointers.delete(e.pointerId));

  section.hidden = false;
  choose();
}
if (one("#viewer")) view(one("#viewer"));
