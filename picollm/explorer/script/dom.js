// Elements, and which way an arrow key goes.

/** An HTML element with properties (className, textContent, onclick, ...), ARIA and data attributes, and children. */
function element(name, properties = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("aria-") || key.startsWith("data-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

// The name of SVG looks like an address, and this page holds none: it is read from an element that the parser made.
const SVG = document.querySelector("svg").namespaceURI;

/** An SVG element with attributes and children. */
function drawn(name, attributes = {}, children = []) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** Lets arrow keys, Home and End move over rows x columns: `go(row, column)` gets a place inside, `at()` says where it is now. */
function arrows(target, size, at, go) {
  target.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const [rows, columns] = size();
    const [row, column] = at();
    let place = null;
    if (event.key in ARROWS) place = [row + ARROWS[event.key][0], column + ARROWS[event.key][1]];
    if (event.key === "Home") place = [row, 0];
    if (event.key === "End") place = [row, columns - 1];
    if (!place) return;
    event.preventDefault(); // the page would scroll
    const inside = (value, count) => Math.min(Math.max(value, 0), count - 1);
    go(inside(place[0], rows), inside(place[1], columns));
  });
}

// Blanks would be nothing to see, nor would characters that only control something.
const VISIBLE = { " ": "\u00b7", "\n": "\u21b5", "\t": "\u2192" };
const LONGEST = 13; // characters of a label: <|endoftext|> just fits

/** A token's spelling with its blanks visible. */
function visible(text) {
  return [...text].map((character) => VISIBLE[character] ?? (/\p{C}/u.test(character) ? "\ufffd" : character)).join("");
}

function label(text) {
  const characters = [...visible(text)];
  return characters.length > LONGEST ? characters.slice(0, LONGEST - 1).join("") + "\u2026" : characters.join("");
}
