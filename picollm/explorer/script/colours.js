// Values to colours: one hue after another for what is never negative, two hues from a neutral middle for what has a sign.

const dark = matchMedia("(prefers-color-scheme: dark)");

class Scale {
  /** `most` is the value at the end of the scale. */
  constructor(palettes, most, signed) {
    this.most = most || 1;
    this.signed = signed;
    this.stops = signed ? palettes[dark.matches ? "signed_dark" : "signed_light"] : palettes.plain;
  }

  /** [red, green, blue] of a value. */
  colour(value) {
    const share = this.signed ? (value / this.most + 1) / 2 : value / this.most;
    const place = Math.min(Math.max(share, 0), 1) * (this.stops.length - 1);
    const below = Math.min(Math.floor(place), this.stops.length - 2);
    return this.stops[below].map((start, channel) => Math.round(start + (this.stops[below + 1][channel] - start) * (place - below)));
  }

  css(value) {
    return `rgb(${this.colour(value).join(" ")})`;
  }

  /** A bar of the scale with its ends, and what colours mean when they have a sign. */
  legend() {
    const low = this.signed ? -this.most : 0;
    const bar = element("span", { className: "bar", "aria-hidden": "true" });
    const colours = Array.from({ length: 17 }, (_, n) => this.css(low + ((this.most - low) * n) / 16));
    bar.style.backgroundImage = `linear-gradient(to right, ${colours.join(", ")})`;
    const said = this.signed ? " signed: orange is negative, blue to purple positive" : "";
    return element("p", { className: "legend" }, [number(low), bar, number(this.most), element("small", { textContent: said })]);
  }
}

/** Four digits behind the point, or as few as say something of what is small. */
function number(value) {
  const size = Math.abs(value);
  return size > 0 && size < 0.001 ? value.toExponential(1) : value.toFixed(size < 10 ? 4 : 2);
}
