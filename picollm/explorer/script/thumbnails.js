// All heads of a model at once: a row a layer, a small map a head.

class Thumbnails {
  /** `pick(layer, head)` is called for the head that a click or an arrow key chooses. */
  constructor(side, container, pick) {
    this.cells = Array.from({ length: side.layers }, (_, layer) =>
      Array.from({ length: side.heads }, (_, head) => {
        const found = side.roles.find((role) => role.layer === layer && role.head === head);
        const named = found?.label ? `, ${found.label}` : "";
        const canvas = element("canvas", { "aria-hidden": "true" });
        const caption = element("span", { textContent: found?.label ?? head });
        return element(
          "div",
          { role: "gridcell", className: "thumb", "aria-label": `layer ${layer}, head ${head}${named}`, onclick: () => pick(layer, head) },
          [canvas, caption],
        );
      }),
    );
    container.style.setProperty("--heads", side.heads);
    container.replaceChildren(
      ...this.cells.map((cells, layer) =>
        element("div", { role: "row" }, [element("span", { role: "rowheader", textContent: `layer ${layer}` }), ...cells]),
      ),
    );
    this.picked = [0, 0];
    arrows(container, () => [side.layers, side.heads], () => this.picked, (layer, head) => {
      pick(layer, head);
      this.cells[layer][head].focus();
    });
  }

  /** Exactly one head is picked, and it alone is a tab stop. */
  mark(layer, head) {
    this.picked = [layer, head];
    this.cells.forEach((cells, row) =>
      cells.forEach((cell, column) => {
        const own = row === layer && column === head;
        cell.setAttribute("aria-selected", own);
        cell.tabIndex = own ? 0 : -1;
      }),
    );
  }

  draw(maps, effect, scale) {
    this.cells.forEach((cells, layer) =>
      cells.forEach((cell, head) => {
        const canvas = cell.querySelector("canvas");
        canvas.width = canvas.height = maps.tokens;
        const context = canvas.getContext("2d");
        const image = context.createImageData(maps.tokens, maps.tokens); // what no query sees stays transparent
        for (let query = 0; query < maps.tokens; query++) {
          scale.row(maps.row(layer, head, query, effect)).forEach((colour, key) => {
            image.data.set([...colour, 255], 4 * (query * maps.tokens + key));
          });
        }
        context.putImageData(image, 0, 0);
      }),
    );
  }
}
