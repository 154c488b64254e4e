// The numbers of one model on one sequence, unpacked.

/** Rows of whole numbers, and what 1 is worth in each row. */
class Packed {
  constructor({ data, steps }) {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    this.whole = new Int16Array(bytes.buffer); // little end first, as every machine with a browser has it
    this.steps = steps;
  }

  at(row, column, columns) {
    return this.whole[row * columns + column] * this.steps[row];
  }
}

class Maps {
  /** `side` has the numbers of layers and heads, `packed` the weights and value sizes. */
  constructor(side, packed, tokens) {
    this.layers = side.layers;
    this.heads = side.heads;
    this.tokens = tokens;
    this.weights = new Packed(packed.weights);
    this.sizes = new Packed(packed.sizes);
    this.signed = this.weights.whole.some((value) => value < 0);
  }

  weight(layer, head, query, key) {
    const row = layer * this.heads + head;
    return this.weights.at(row, (query * (query + 1)) / 2 + key, (this.tokens * (this.tokens + 1)) / 2);
  }

  size(layer, head, key) {
    return this.sizes.at(layer * this.heads + head, key, this.tokens);
  }

  /** What the map shows: the weight, or how long the piece is that it adds. */
  value(layer, head, query, key, effect) {
    const weight = this.weight(layer, head, query, key);
    return effect ? Math.abs(weight) * this.size(layer, head, key) : weight;
  }

  /** The values that a query sees, one for each key up to itself. */
  row(layer, head, query, effect) {
    return Array.from({ length: query + 1 }, (_, key) => this.value(layer, head, query, key, effect));
  }

  /** The largest size of any value of all heads. */
  most(effect) {
    let most = 0;
    for (let layer = 0; layer < this.layers; layer++) {
      for (let head = 0; head < this.heads; head++) {
        for (let query = 0; query < this.tokens; query++) most = Math.max(most, ...this.row(layer, head, query, effect).map(Math.abs));
      }
    }
    return most;
  }
}
