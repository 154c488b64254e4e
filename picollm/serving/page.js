"use strict";

const DARKEST = 8; // bits, from which on a token has the full colour
const $ = (id) => document.getElementById(id);
const DRAWN = 255; // tokens whose attention is shown; more would be no picture
let runs = [];
let tokens = []; // of the text that is shown, prompt first
let asked = null; // what the text came from
let writing = null; // stops the answer that is being read
let map = null; // {tokens, weights} of the head that is shown

function element(name, properties = {}, children = []) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function say(message) {
  $("message").textContent = message;
}

async function refusal(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `the server answered ${response.status}`;
  }
}

function post(path, body, signal) {
  return fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
}

// The runs

async function list() {
  try {
    const response = await fetch("runs");
    if (!response.ok) throw new Error(await refusal(response));
    runs = (await response.json()).runs;
  } catch (error) {
    say(`no list of runs: ${error.message}`);
    return;
  }
  for (const run of runs) $("run").append(element("option", { value: run.name, textContent: run.refused ? `${run.name} (does not write)` : run.name }));
  const first = runs.find((run) => !run.refused);
  if (!first) say("no model is trained yet: make study");
  else $("run").value = first.name;
  chosen();
}

function chosen() {
  const run = runs.find((one) => one.name === $("run").value);
  if (!run) return;
  const seeds = Array.from({ length: run.models }, (_, seed) => element("option", { value: seed, textContent: seed }));
  $("model").replaceChildren(...seeds);
  const floor = run.floor ? `, no model can spend less than ${run.floor.bits.toFixed(3)} bits a ${run.floor.of} on average` : "";
  $("about").textContent = `${run.kind.replaceAll("_", " ")} on ${run.task}${floor}`;
  $("prompt").placeholder = run.numbers ? "3 5 7" : "Once upon a time";
  say(run.refused ?? "");
}

// The text

/** A number that was typed, or undefined for none. */
function typed(id) {
  return $(id).value === "" ? undefined : Number($(id).value);
}

function question() {
  return {
    run: $("run").value,
    model: Number($("model").value),
    prompt: $("prompt").value,
    length: typed("length"),
    seed: typed("seed"),
    sampling: { temperature: typed("temperature"), top_p: typed("top_p") },
  };
}

async function write(event) {
  event.preventDefault();
  writing?.abort();
  const mine = (writing = new AbortController());
  clear();
  asked = question();
  $("stop").disabled = false;
  try {
    const response = await post("write", asked, mine.signal);
    if (!response.ok) throw new Error(await refusal(response));
    await lines(response, answered);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
  }
  if (writing !== mine) return; // another text has been asked for meanwhile
  writing = null;
  $("stop").disabled = true;
  if (tokens.length) inside();
}

function clear() {
  say("");
  tokens = [];
  map = null;
  $("text").replaceChildren();
  $("sums").textContent = "";
  $("inside").hidden = true;
  hideTip();
}

/** Every line of an answer, as it comes. */
async function lines(response, handle) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const whole = (rest + part.value).split("\n");
    rest = whole.pop();
    for (const line of whole) handle(JSON.parse(line));
  }
}

function answered(answer) {
  if (answer.prompt) {
    $("text").classList.toggle("numbers", answer.between === " ");
    for (const token of answer.prompt) show(token, "prompt");
  } else if (answer.token) {
    show(answer.token, answer.token.ends ? "end" : "");
  } else if (answer.end) {
    $("sums").textContent = summed(answer.end);
  } else {
    say(answer.error);
  }
}

function show(token, kind) {
  const span = element("span", { textContent: token.text, className: kind, tabIndex: 0 });
  if (token.impossible) span.classList.add("impossible");
  span.style.setProperty("--shade", Math.min(1, (token.bits ?? 0) / DARKEST));
  span.dataset.place = tokens.length;
  tokens.push(token);
  $("text").append(span);
}

function summed({ bits, floor_bits, tokens: count, ended, of }) {
  const floor = floor_bits === null ? "" : `, and the exact predictor ${floor_bits.toFixed(2)}`;
  return `${count} tokens${ended ? ", to the end" : ""}: the model spent ${bits === null ? "any number of" : bits.toFixed(2)} bits on ${of}${floor}.`;
}

// What else could have come

function percent(p) {
  return `${(100 * p).toPrecision(3)} %`;
}

function tip(span) {
  const token = tokens[Number(span.dataset.place)];
  const box = $("tip");
  if (token.probability === null) {
    box.replaceChildren(element("p", { textContent: "the first token: nothing predicts it" }));
  } else {
    const floor = token.impossible ? ", which the task never has" : token.floor_bits === null ? "" : `, exact predictor ${token.floor_bits.toFixed(2)}`;
    const said = `${percent(token.probability)}: ${token.bits === null ? "" : token.bits.toFixed(2)} bits${floor}`;
    const rows = token.likeliest.map(([text, p]) => {
      const bar = element("div", { className: "bar" });
      bar.style.width = `${100 * p}%`;
      const cells = [text, percent(p)].map((content) => element("td", { textContent: content }));
      return element("tr", { className: token.probability === p ? "own" : "" }, [...cells, element("td", {}, [bar])]);
    });
    box.replaceChildren(element("p", { textContent: said }), element("table", {}, [element("tbody", {}, rows)]));
  }
  box.hidden = false;
  const at = span.getBoundingClientRect();
  const below = at.bottom + box.offsetHeight + 8 < innerHeight;
  box.style.top = `${below ? at.bottom + 4 : Math.max(0, at.top - box.offsetHeight - 4)}px`;
  box.style.left = `${Math.max(4, Math.min(at.left, innerWidth - box.offsetWidth - 8))}px`;
}

function hideTip() {
  $("tip").hidden = true;
}

// Attention

function inside() {
  const run = runs.find((one) => one.name === asked.run);
  if (!run.heads) return;
  const [layers, heads] = run.heads;
  for (const [id, count] of [["layer", layers], ["head", heads]]) {
    const before = Number($(id).value);
    $(id).replaceChildren(...Array.from({ length: count }, (_, number) => element("option", { value: number, textContent: number })));
    $(id).value = before < count ? before : 0;
  }
  $("inside").hidden = false;
  look();
}

async function look() {
  const body = { run: asked.run, model: asked.model, ids: tokens.slice(0, DRAWN).map((token) => token.id), layer: Number($("layer").value), head: Number($("head").value) };
  const mine = tokens;
  try {
    const response = await post("attention", body);
    if (!response.ok) throw new Error(await refusal(response));
    const found = await response.json();
    if (mine !== tokens || body.layer !== Number($("layer").value) || body.head !== Number($("head").value)) return; // overtaken
    map = found;
    draw();
  } catch (error) {
    $("inside").hidden = true;
    say(error.message);
  }
}

/** One pixel a weight, a sign has a hue of its own. By the square root: the first tokens see few others, and their weights would outshine all later ones. */
function draw() {
  const size = map.tokens.length;
  const canvas = $("map");
  canvas.width = canvas.height = size;
  const style = getComputedStyle(document.documentElement);
  const [plus, minus] = ["--plus", "--minus"].map((name) => style.getPropertyValue(name).split(",").map(Number));
  const most = Math.max(1e-9, ...map.weights.flat().map(Math.abs));
  const picture = new ImageData(size, size);
  map.weights.forEach((row, query) => {
    row.forEach((weight, key) => {
      const colour = weight < 0 ? minus : plus;
      picture.data.set([...colour, Math.round(255 * Math.sqrt(Math.abs(weight) / most))], 4 * (query * size + key));
    });
  });
  canvas.getContext("2d").putImageData(picture, 0, 0);
  $("looks").textContent = tokens.length > DRAWN ? `the first ${DRAWN} tokens: point at the map` : "point at the map";
}

function point(event) {
  if (!map) return;
  const box = $("map").getBoundingClientRect();
  const size = map.tokens.length;
  const [key, query] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((share) => Math.min(size - 1, Math.floor(share * size)));
  if (key < 0 || query < 0) return;
  $("looks").textContent = `${JSON.stringify(map.tokens[query])} looks at ${JSON.stringify(map.tokens[key])} with ${map.weights[query][key].toFixed(4)}`;
  const shown = size - Math.min(DRAWN, tokens.length); // the start of a document is in the map and not in the text
  for (const span of $("text").children) span.classList.toggle("at", [query, key].includes(Number(span.dataset.place) + shown));
}

function leave() {
  for (const span of $("text").querySelectorAll(".at")) span.classList.remove("at");
}

$("ask").addEventListener("submit", write);
$("stop").addEventListener("click", () => writing?.abort());
$("run").addEventListener("change", chosen);
$("layer").addEventListener("change", look);
$("head").addEventListener("change", look);
$("map").addEventListener("pointermove", point);
$("map").addEventListener("pointerleave", leave);
for (const [start, end] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
  $("text").addEventListener(start, (event) => event.target.dataset.place && tip(event.target));
  $("text").addEventListener(end, hideTip);
}
addEventListener("scroll", hideTip, { passive: true });
list();
