// What is shown, and what is drawn again when that changes.

const page = JSON.parse(document.getElementById("data").textContent);
const state = { probe: 0, effect: false, common: true, threshold: 0.3, together: true, token: null };

class Side {
  constructor(facts, index) {
    this.facts = facts;
    this.root = document.getElementById(`side-${index}`);
    this.index = index;
    this.picked = { layer: 0, head: 0 };
    if (facts.layers) {
      this.thumbnails = new Thumbnails(facts, this.root.querySelector(".thumbs"), (layer, head) => pick(this, layer, head));
      this.matrix = new Matrix(this.root.querySelector(".map"));
      this.flow = new Flow(this.root.querySelector(".flow"), (token) => {
        state.token = token;
        sides.forEach((side) => side.drawFlow());
      });
      for (const button of this.root.querySelectorAll(".roles button")) {
        button.addEventListener("click", () => pick(this, Number(button.dataset.layer), Number(button.dataset.head)));
      }
    }
    if (page.probes[0].sides[index].lens) this.lens = new Lens(this.root.querySelector(".lens"));
  }

  /** Another sequence: everything follows from it. */
  load() {
    const probe = page.probes[state.probe];
    const packed = probe.sides[this.index];
    this.labels = probe.ids.map((token) => label(page.vocabulary[token]));
    if (this.facts.layers) this.maps = new Maps(this.facts, packed, probe.ids.length);
    this.lens?.draw(packed.lens, probe, this.labels, page.vocabulary);
    this.draw();
  }

  /** All maps: after another sequence, measure, scale or theme. */
  draw() {
    if (!this.maps) return;
    const signed = this.maps.signed && !state.effect;
    this.scale = new Scale(page.palettes, state.common ? this.maps.most(state.effect) : null, signed);
    this.thumbnails.draw(this.maps, state.effect, this.scale);
    this.drawPicked();
  }

  /** What shows the head that is picked. */
  drawPicked() {
    if (!this.maps) return;
    const { layer, head } = this.picked;
    this.thumbnails.mark(layer, head);
    this.root.querySelector(".map h3").textContent = `Layer ${layer}, head ${head}`;
    this.matrix.draw(this.maps, layer, head, state.effect, this.scale, this.labels);
    for (const button of this.root.querySelectorAll(".roles button")) {
      const own = Number(button.dataset.layer) === layer && Number(button.dataset.head) === head;
      button.setAttribute("aria-pressed", own);
      button.closest("tr").classList.toggle("picked", own);
    }
    this.drawFlow();
  }

  drawFlow() {
    if (this.maps) this.flow.draw(this.maps, this.picked, state.effect, state.threshold, state.token, this.labels);
  }
}

/** A head of one side, and of the other side too where it has such a head and they go together. */
function pick(chosen, layer, head) {
  for (const side of state.together ? sides : [chosen]) {
    if (layer >= side.facts.layers || head >= side.facts.heads) continue;
    side.picked = { layer, head };
    side.drawPicked();
  }
}

function control(name, listen) {
  for (const input of document.querySelectorAll(`[name="${name}"]`)) input.addEventListener("input", () => listen(input));
}

function showSequence() {
  const probe = page.probes[state.probe];
  const tokens = probe.ids.map((token) => element("span", { textContent: visible(page.vocabulary[token]) }));
  document.getElementById("sequence").replaceChildren(...tokens);
}

const sides = page.sides.map((facts, index) => new Side(facts, index));

control("probe", (input) => {
  Object.assign(state, { probe: Number(input.value), token: null });
  showSequence();
  sides.forEach((side) => side.load());
});
control("measure", (input) => {
  state.effect = input.value === "effect";
  sides.forEach((side) => side.draw());
});
control("reach", (input) => {
  state.common = input.value === "common";
  sides.forEach((side) => side.draw());
});
control("threshold", (input) => {
  state.threshold = Number(input.value) / 100;
  document.getElementById("threshold-said").textContent = `${input.value} %`;
  sides.forEach((side) => side.drawFlow());
});
control("together", (input) => {
  state.together = input.checked;
});
dark.addEventListener("change", () => sides.forEach((side) => side.draw()));

document.getElementById("controls").reset(); // a browser may keep what was chosen before the page was loaded again
showSequence();
sides.forEach((side) => side.load());
