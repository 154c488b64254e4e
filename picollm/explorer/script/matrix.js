// The large map of one head: a row a query, a column a key, and the numbers of the cell that is pointed at.

const LETTER = 6.2; // width of a label's character at its size, in units of the drawing
const ROOM = 320; // of all cells together, in the same units

class Matrix {
  constructor(container) {
    this.figure = container.querySelector(".drawing");
    this.said = container.querySelector(".said");
    this.legend = container.querySelector(".scale");
    this.at = [0, 0];
    this.figure.addEventListener("pointermove", (event) => this.point(event));
    this.figure.addEventListener("click", (event) => this.point(event));
    this.figure.addEventListener("focus", () => this.say());
    arrows(this.figure, () => [this.maps?.tokens ?? 1, this.at[0] + 1], () => this.at, (query, key) => {
      this.at = [query, Math.min(key, query)];
      this.say();
    });
  }

  point(event) {
    const { query, key } = event.target.dataset ?? {};
    if (query === undefined) return;
    this.at = [Number(query), Number(key)];
    this.say();
  }

  draw(maps, layer, head, effect, scale, labels) {
    Object.assign(this, { maps, layer, head, labels });
    this.at = this.at.map((place) => Math.min(place, maps.tokens - 1)); // another sequence may be shorter
    const T = maps.tokens;
    const cell = Math.max(9, Math.min(28, ROOM / T));
    const side = 8 + LETTER * Math.max(...labels.map((text) => [...text].length));
    const whole = side + T * cell + 2;
    const content = [];
    for (let query = 0; query < T; query++) {
      const y = side + query * cell;
      content.push(drawn("text", { x: side - 5, y: y + cell / 2, class: "query" }, [labels[query]]));
      content.push(drawn("text", { x: 0, y: 0, class: "key", transform: `translate(${side + (query + 0.5) * cell} ${side - 5}) rotate(-90)` }, [labels[query]]));
      scale.row(maps.row(layer, head, query, effect)).forEach((colour, key) => {
        const place = { x: side + key * cell, y, width: cell, height: cell, class: "cell", "data-query": query, "data-key": key };
        const rectangle = drawn("rect", place);
        rectangle.style.fill = css(colour);
        content.push(rectangle);
      });
    }
    this.cursor = drawn("rect", { width: cell, height: cell, class: "cursor" });
    this.place = (query, key) => [side + key * cell, side + query * cell];
    const svg = drawn("svg", { viewBox: `0 0 ${whole} ${whole}`, "aria-hidden": "true" }, [...content, this.cursor]);
    svg.style.minWidth = `${Math.min(whole, 11 * T + side)}px`; // smaller, no label could be read: it scrolls instead
    this.figure.replaceChildren(svg);
    this.figure.setAttribute("aria-label", `Map of layer ${layer}, head ${head}: ${T} by ${T} tokens. Arrow keys move over its cells.`);
    this.legend.replaceChildren(scale.legend());
    this.say();
  }

  /** The numbers of the cell at the cursor. */
  say() {
    const { maps, layer, head } = this;
    const [query, key] = this.at;
    const [x, y] = this.place(query, key);
    this.cursor.setAttribute("x", x);
    this.cursor.setAttribute("y", y);
    const weight = maps.weight(layer, head, query, key);
    const size = maps.size(layer, head, key);
    const row = maps.row(layer, head, query, false).reduce((sum, value) => sum + value, 0);
    const facts = [
      ["weight", number(weight)],
      ["even over all so far", number(1 / (query + 1))],
      ["sum of the row", number(row)],
      ["value size", number(size)],
      ["weight \u00d7 size", number(Math.abs(weight) * size)],
    ];
    this.said.replaceChildren(
      element("p", {}, [
        element("code", { className: "query", textContent: this.labels[query] }),
        ` (${query}) looks at `,
        element("code", { className: "key", textContent: this.labels[key] }),
        ` (${key})`,
      ]),
      element("dl", {}, facts.map(([name, value]) => element("div", {}, [element("dt", { textContent: name }), element("dd", { textContent: value })]))),
    );
  }
}
