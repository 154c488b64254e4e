// What the model would say next if each layer were the last: a row a token, a column a layer.

class Lens {
  constructor(container) {
    this.table = container.querySelector(".drawing");
    this.said = container.querySelector(".said");
    this.at = [0, 0];
    this.table.addEventListener("click", (event) => {
      const cell = event.target.closest("td[data-place]");
      if (cell) this.go(Number(cell.dataset.place), Number(cell.dataset.layer));
    });
    arrows(this.table, () => [this.cells?.length ?? 1, this.cells?.[0].length ?? 1], () => this.at, (place, layer) => {
      this.go(place, layer);
      this.cells[place][layer].focus();
    });
  }

  /** `lens` has ids, p (layers x tokens x listed) and asked (layers x tokens). */
  draw(lens, probe, labels, spelled) {
    Object.assign(this, { lens, probe, labels, spelled });
    const levels = lens.ids.map((_, layer) => (layer ? `layer ${layer - 1}` : "input"));
    this.cells = labels.map((_, place) => levels.map((_, layer) => this.cell(place, layer)));
    const head = ["after", ...levels, "asked"].map((text) => element("th", { scope: "col", textContent: text }));
    const rows = labels.map((text, place) => {
      const asked = probe.asked[place];
      return element("tr", {}, [
        element("th", { scope: "row", textContent: text }),
        ...this.cells[place],
        element("td", { className: "asked", textContent: asked === null ? "" : label(spelled[asked]) }),
      ]);
    });
    this.table.replaceChildren(element("table", {}, [element("thead", {}, [element("tr", {}, head)]), element("tbody", {}, rows)]));
    this.go(Math.min(this.at[0], labels.length - 1), Math.min(this.at[1], levels.length - 1));
  }

  cell(place, layer) {
    const top = this.lens.ids[layer][place][0];
    const p = this.lens.p[layer][place][0];
    const right = top === this.probe.asked[place];
    const made = element("td", { className: right ? "right" : "", "data-place": place, "data-layer": layer }, [
      element("span", { textContent: label(this.spelled[top]) }),
      " ",
      element("small", { textContent: `${(100 * p).toFixed(0)} %${right ? " \u2713" : ""}` }),
    ]);
    made.style.setProperty("--p", p);
    return made;
  }

  go(place, layer) {
    this.at = [place, layer];
    this.cells.forEach((cells, row) =>
      cells.forEach((cell, column) => {
        const own = row === place && column === layer;
        cell.tabIndex = own ? 0 : -1; // a single tab stop
        cell.classList.toggle("at", own);
      }),
    );
    const asked = this.probe.asked[place];
    const list = this.lens.ids[layer][place].map((token, rank) => [token, this.lens.p[layer][place][rank]]);
    const where = layer ? `layer ${layer - 1}` : "the input";
    const rest = asked === null ? [] : [` Asked: `, element("code", { textContent: visible(this.spelled[asked]) }), ` ${this.lens.asked[layer][place].toFixed(4)}`];
    this.said.replaceChildren(
      element("p", {}, [`After `, element("code", { textContent: this.labels[place] }), ` (${place}), ${where} says:`]),
      element("ol", {}, list.map(([token, p]) => element("li", { "data-token": token }, [element("code", { textContent: visible(this.spelled[token]) }), ` ${p.toFixed(4)}`]))),
      element("p", {}, rest),
    );
  }
}
