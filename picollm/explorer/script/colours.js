// Values to colours: one hue after another for what is never negative, two hues from a neutral middle for what has a sign.

const dark = matchMedia("(prefers-color-scheme: dark)");

class Scale {
  /** `most` is the value at the end of the scale; null: in each row its largest. */
  constructor(palettes, most, signed) {
    this.most = most;
    this.signed = signed;
    this.stops = signed ? palettes[dark.matches ? "signed_dark" : "signed_light"] : palettes.plain;
  }

  /** [[red, green, blue], ...] of a row of values. */
  row(values) {
    const most = (this.most ?? Math.max(...values.map(Math.abs))) || 1;
    return values.map((value) => this.colour(value / most));
  }

  /** [red, green, blue] of a share of the scale's end. */
  colour(value) {
    const share = this.signed ? (value + 1) / 2 : value;
    const place = Math.min(Math.max(share, 0), 1) * (this.stops.length - 1);
    const below = Math.min(Math.floor(place), this.stops.length - 2);
    return this.stops[below].map((start, channel) => Math.round(start + (this.stops[below + 1][channel] - start) * (place - below)));
  }

  /** A bar of the scale with its ends, and what colours mean when they have a sign. */
  legend() {
    const end = this.most === null ? "the row's largest" : number(this.most);
    const bar = element("span", { className: "bar", "aria-hidden": "true" });
    bar.style.backgroundImage = `linear-gradient(to right, ${this.stops.map(css).join(", ")})`;
    const said = this.signed ? `signed: ${dark.matches ? "red is negative, blue" : "orange is negative, purple"} positive` : "";
    return element("p", { className: "legend" }, [this.signed ? `\u2212${end}` : "0", bar, end, element("small", { textContent: said })]);
  }
}

function css(colour) {
  return `rgb(${colour.join(" ")})`;
}

/** Four digits behind the point, or as few as say something of what is small. */
function number(value) {
  const size = Math.abs(value);
  return size > 0 && size < 0.001 ? value.toExponential(1) : value.toFixed(size < 10 ? 4 : 2);
}
