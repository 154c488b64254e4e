"use strict";
// What a reader may do with the page beyond reading it: sort tables, ask curves, unfold the ledger, filter runs, compare two. Without it nothing is missing.

const make = (tag, text, attributes = {}) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

// --- tables: a click on a head sorts by it. Rows of a floor or a control stay last; a row of kind "cell" stays with the claim above it.
const amount = (text) => {
  const found = text.replaceAll(",", "").replace("\u2212", "-").match(/^[<\s]*(-?\d[\d.]*(?:e[+-]?\d+)?)/);
  return found ? Number(found[1]) : NaN;
};
const blocks = (body) => {
  const result = [];
  const claims = body.querySelector("tr.claim") !== null;
  for (const row of body.rows) {
    if (claims && row.classList.contains("cell") && result.length) result.at(-1).push(row);
    else result.push([row]);
  }
  return result;
};
const order = (column, ascending) => (left, right) => {
  const last = (block) => block[0].matches(".floor, .control");
  if (last(left) !== last(right)) return last(left) ? 1 : -1;
  const [a, b] = [left, right].map((block) => block[0].cells[column]?.textContent.trim() ?? "");
  const [x, y] = [amount(a), amount(b)];
  if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
  const difference = Number.isNaN(x) ? a.localeCompare(b) : x - y;
  return ascending ? difference : -difference;
};
for (const table of document.querySelectorAll("main table")) {
  if (table.tBodies[0].rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = make("button", head.textContent, { type: "button", class: "sort" });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      for (const block of blocks(table.tBodies[0]).sort(order(column, ascending))) table.tBodies[0].append(...block);
    });
  });
}

// --- the ledger: the tests of a claim are shown when it is asked for.
for (const row of document.querySelectorAll("tr.claim")) {
  const tests = blocks(row.parentElement).find((block) => block[0] === row).slice(1);
  if (!tests.length) continue;
  const button = make("button", row.cells[0].textContent, { type: "button", class: "fold" });
  const fold = (open) => {
    button.setAttribute("aria-expanded", open);
    for (const test of tests) test.hidden = !open;
  };
  row.cells[0].replaceChildren(button);
  button.addEventListener("click", () => fold(button.getAttribute("aria-expanded") !== "true"));
  fold(false);
}

// --- curves: the nearest measured point of any line, in words.
for (const figure of document.querySelectorAll("figure[data-lines]")) {
  const lines = JSON.parse(figure.dataset.lines);
  const drawing = figure.querySelector("svg");
  if (!lines.length || !drawing) continue;
  const said = make("output", "", { class: "hover", hidden: "" });
  const dot = document.createElementNS(drawing.namespaceURI, "circle");
  dot.setAttribute("r", "4");
  dot.setAttribute("visibility", "hidden");
  drawing.append(dot);
  figure.append(said);
  drawing.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
    let best = { distance: 30 };
    for (const line of lines) {
      for (const [x, y, across, up] of line.points) {
        const distance = Math.hypot(x - at.x, y - at.y);
        if (distance < best.distance) best = { distance, line, x, y, across, up };
      }
    }
    said.hidden = best.line === undefined;
    dot.setAttribute("visibility", best.line ? "visible" : "hidden");
    if (!best.line) return;
    dot.setAttribute("cx", best.x);
    dot.setAttribute("cy", best.y);
    dot.setAttribute("fill", best.line.colour);
    said.textContent = `${best.line.name}: ${best.up} at ${best.across}`;
  });
  drawing.addEventListener("pointerleave", () => {
    said.hidden = true;
    dot.setAttribute("visibility", "hidden");
  });
}

// --- runs: a filter by name and task, and two ticked ones side by side.
const tools = document.querySelector(".tools");
if (tools) {
  const runs = JSON.parse(document.getElementById("runs-data").textContent);
  const cards = [...document.querySelectorAll(".card[data-run]")];
  const filter = document.getElementById("filter");
  const compared = document.getElementById("compared");
  const ticks = [...document.querySelectorAll(".tick input")];
  tools.hidden = false;
  for (const tick of ticks) tick.parentElement.hidden = false;
  filter.addEventListener("input", () => {
    const wanted = filter.value.trim().toLowerCase();
    for (const card of cards) card.hidden = !`${card.dataset.run} ${card.dataset.task}`.toLowerCase().includes(wanted);
  });
  const rows = (left, right, differing) => {
    const [a, b] = [new Map(left), new Map(right)];
    return [...new Set([...a.keys(), ...b.keys()])]
      .map((name) => [name, a.get(name) ?? "\u2013", b.get(name) ?? "\u2013"])
      .filter(([, x, y]) => !differing || x !== y);
  };
  const group = (body, title, found) => {
    if (!found.length) return;
    body.append(make("tr", undefined, { class: "floor" }));
    body.lastChild.append(make("th", title, { colspan: "3", scope: "rowgroup" }));
    for (const cells of found) {
      const row = make("tr");
      cells.forEach((cell, place) => row.append(make(place ? "td" : "th", cell)));
      body.append(row);
    }
  };
  let chosen = [];
  const show = () => {
    for (const tick of ticks) tick.checked = chosen.includes(tick.value);
    compared.replaceChildren();
    if (chosen.length !== 2) return;
    const [left, right] = chosen.map((name) => runs[name]);
    const table = make("table");
    table.append(make("caption", `${chosen[0]} beside ${chosen[1]}: the parameters that differ, and all results`));
    const head = make("tr");
    for (const cell of ["", ...chosen]) head.append(make("th", cell, { scope: "col" }));
    const body = make("tbody");
    group(body, "parameters", rows(left[0], right[0], true));
    group(body, "results", rows(left[1], right[1], false));
    table.append(make("thead"), body);
    table.tHead.append(head);
    const scroll = make("div", undefined, { class: "scroll", tabindex: "0" });
    scroll.append(table);
    compared.append(scroll);
  };
  for (const tick of ticks) {
    tick.addEventListener("change", () => {
      chosen = tick.checked ? [...chosen, tick.value].slice(-2) : chosen.filter((name) => name !== tick.value);
      show();
    });
  }
}

// A link leads into what is folded: open it.
const open = () => {
  for (let at = document.getElementById(decodeURIComponent(location.hash.slice(1))); at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
};
addEventListener("hashchange", open);
open();
