// Who hears from whom, layer by layer: an edge is one head's share of what a token reads, from the layer below to its own.

const GAP = 62; // between layers, in units of the drawing
const WIDE = 460; // of all tokens together, where they are few
const NARROW = 22; // between tokens, where they are many

class Flow {
  /** `trace(token)` is called for the token whose sources alone are wanted, or null for all. */
  constructor(container, trace) {
    this.figure = container.querySelector(".drawing");
    this.said = container.querySelector(".said");
    this.figure.addEventListener("click", (event) => {
      const token = event.target.dataset?.token;
      if (token !== undefined) trace(Number(token) === this.token ? null : Number(token));
    });
    this.figure.addEventListener("keydown", (event) => {
      if (event.key === "Escape") trace(null);
    });
    arrows(this.figure, () => [1, this.maps?.tokens ?? 1], () => [0, this.token ?? this.maps.tokens], (_, token) => trace(token)); // at first one key from the last token
  }

  draw(maps, picked, effect, threshold, token, labels) {
    Object.assign(this, { maps, token });
    const edges = kept(strong(maps, effect, threshold), maps.layers, token);
    const room = 10 + LETTER * Math.max(...labels.map((text) => [...text].length));
    const column = Math.max(NARROW, Math.min(44, WIDE / maps.tokens));
    const x = (place) => 62 + place * column;
    const y = (layer) => 12 + (maps.layers - layer) * GAP;
    const lines = edges.map(({ layer, head, query, key, share }) => {
      const own = layer === picked.layer && head === picked.head;
      const line = drawn("path", {
        d: `M${x(key)} ${y(layer)}C${x(key)} ${y(layer) - GAP / 2} ${x(query)} ${y(layer) - GAP / 2} ${x(query)} ${y(layer + 1)}`,
        class: own ? "edge own" : "edge",
        "stroke-width": (0.4 + 2.6 * share).toFixed(2),
      });
      line.append(drawn("title", {}, [`layer ${layer}, head ${head}: ${labels[query]} reads ${(100 * share).toFixed(0)} % from ${labels[key]}`]));
      return [own, line];
    });
    const nodes = [];
    for (let layer = 0; layer <= maps.layers; layer++) {
      nodes.push(drawn("text", { x: 4, y: y(layer), class: "level" }, [layer ? `layer ${layer - 1}` : "input"]));
      for (let place = 0; place < maps.tokens; place++) {
        nodes.push(drawn("circle", { cx: x(place), cy: y(layer), r: 3, class: place === token ? "node traced" : "node", "data-token": place }));
      }
    }
    labels.forEach((text, place) => {
      const attributes = { class: place === token ? "token traced" : "token", transform: `translate(${x(place)} ${y(0) + 9}) rotate(-90)`, "data-token": place };
      nodes.push(drawn("text", attributes, [text]));
    });
    const [width, height] = [x(maps.tokens - 1) + 14, y(0) + room + 4];
    const ordered = [...lines.filter(([own]) => !own), ...lines.filter(([own]) => own)].map(([, line]) => line); // the head that is picked on top
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, [...ordered, ...nodes]);
    svg.style.width = `${width}px`;
    this.figure.replaceChildren(svg);
    const own = lines.filter(([mine]) => mine).length;
    const whose = token === null ? "" : `, on the way to ${labels[token]} (${token})`;
    this.said.textContent = `${edges.length} edges of at least ${(100 * threshold).toFixed(0)} %${whose}; ${own} of them are head ${picked.head} of layer ${picked.layer}`;
    this.figure.setAttribute("aria-label", `Flow graph: ${this.said.textContent}. Left and right arrow keys trace a token, Escape shows all.`);
  }
}

/** Every edge whose share of its row is at least `threshold`: shares of absolute values, since some kinds of attention have a sign. */
function strong(maps, effect, threshold) {
  const edges = [];
  for (let layer = 0; layer < maps.layers; layer++) {
    for (let head = 0; head < maps.heads; head++) {
      for (let query = 0; query < maps.tokens; query++) {
        const sizes = maps.row(layer, head, query, effect).map(Math.abs);
        const sum = sizes.reduce((a, b) => a + b, 0);
        sizes.forEach((size, key) => {
          if (sum > 0 && size / sum >= threshold) edges.push({ layer, head, query, key, share: size / sum });
        });
      }
    }
  }
  return edges;
}

/** Of `edges` those on the way to a token of the last layer; what stays in its own column passes along the residual. */
function kept(edges, layers, token) {
  if (token === null) return edges;
  const found = [];
  let wanted = new Set([token]);
  for (let layer = layers - 1; layer >= 0; layer--) {
    const own = edges.filter((edge) => edge.layer === layer && wanted.has(edge.query));
    found.push(...own);
    wanted = new Set([...wanted, ...own.map((edge) => edge.key)]);
  }
  return found;
}
