"""What multiplies modulo 127: are values written as waves over the group that a sequence walks through?

A step of an arithmetic sequence turns each additive character exp(2 pi i k x / 127) by an angle, a step of a geometric
one each multiplicative character exp(2 pi i k log x / 126): whoever has the angles need only add them (Nanda et al.
2023, arXiv 2301.05217; for any group Chughtai et al. 2023, arXiv 2302.03025). So there are two questions: how much of
the embeddings do a few characters make up, and can they be read off the residual stream, at the last term of a prefix,
for the step, the next term and the start? Probes are fitted on cells that training draws from, and judged on those
that it never sees.

Three nulls for a probe: shuffled labels, untrained models, and renamed values, waves over the group in a random order:
they say whether it is the group that a site knows, or just the value.

Shapes: N sequences, T terms, G elements of a group, K = G // 2 of its characters, D model width.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from math import gcd

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from picollm.analysis import _bootstrap, _probes, _verdicts
from picollm.analysis._drawing import CHART
from picollm.analysis._nulls import permutations, untrained
from picollm.analysis._result import FEWEST_FOR_P, Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.analysis._ridge import Ridge, r_squared
from picollm.analysis._spectrum import interval, power, shuffled_power
from picollm.analysis._states import residual_sites, states
from picollm.core.files import read_json
from picollm.models import Model
from picollm.report.figures import COLOURS, INK
from picollm.tasks.numeric.values import VALUES

ROOT = 3  # its powers are all of 1..126
TOP = 5  # characters that count as a few
SHORTEST = 4  # terms of a prefix: two say which cell it is, two more which family
MOST, FEWEST = 750, 8  # sequences of a family on either side
SEED = 4


@dataclass(frozen=True, eq=False)
class Group:
    name: str
    elements: np.ndarray  # (G,): the values, in the order in which the generator reaches them

    @cached_property
    def place(self) -> np.ndarray:
        """(VALUES,): where a value stands among the elements, -1 for the zero that has no logarithm."""
        place = np.full(VALUES, -1)
        place[self.elements] = np.arange(len(self.elements))
        return place

    @cached_property
    def characters(self) -> np.ndarray:
        """(G, K): those with 1 to K turns; all others are their conjugates, and the constant."""
        n = len(self.elements)
        return np.exp(2j * np.pi * (np.outer(np.arange(n), np.arange(1, n // 2 + 1)) % n) / n)

    def order(self, frequency: int) -> int:
        """How many different values the character has: of order 2 it is the Legendre symbol."""
        return len(self.elements) // gcd(len(self.elements), frequency)


ADDITIVE = Group("additive", np.arange(VALUES))
MULTIPLICATIVE = Group("multiplicative", np.array([pow(ROOT, power, VALUES) for power in range(VALUES - 1)]))
WALKS = {"arithmetic": (ADDITIVE, "step"), "geometric": (MULTIPLICATIVE, "ratio")}


@dataclass(frozen=True, eq=False)
class Prefixes:
    """Sequences of one family: the first `fitted` of them to fit probes on, the others to judge them by; no cell is in both."""

    family: str
    ids: np.ndarray  # (N, T)
    fitted: int

    @property
    def group(self) -> Group:
        return WALKS[self.family][0]

    @cached_property
    def last(self) -> np.ndarray:
        """(N,): the term where each is read, anywhere from SHORTEST terms on: at a fixed one, start and next term say the same of some characters."""
        return np.random.Generator(np.random.PCG64(SEED)).integers(SHORTEST - 1, self.ids.shape[1], size=len(self.ids))

    def labels(self) -> dict[str, np.ndarray]:
        """{target: (N,) places in the group}."""
        at, n = self.group.place[self.ids], len(self.group.elements)
        step = (at[:, 1] - at[:, 0]) % n
        return {WALKS[self.family][1]: step, "next": (at[np.arange(len(at)), self.last] + step) % n, "start": at[:, 0]}


@dataclass(frozen=True, eq=False)
class Probe:
    """One target of one family, read at one site."""

    name: tuple[str, str, str]  # family, target, site
    ridge: Ridge
    prefixes: Prefixes
    labels: np.ndarray  # (N,)

    @property
    def fitted(self) -> np.ndarray:
        return self.labels[: self.prefixes.fitted]

    @property
    def judged(self) -> np.ndarray:
        return self.labels[self.prefixes.fitted :]

    @cached_property
    def fit(self) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of all characters, and what is expected of each."""
        return self.ridge.fit(self.prefixes.group.characters, self.fitted)

    def r_squared(self, order: np.ndarray | None = None, renaming: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """The mean over the TOP characters that looked best in the fit, and which they are.

        `order` (fitted,) shuffles the labels that are fitted, `renaming` (G,) what they all stand for.
        """
        waves = self.prefixes.group.characters
        waves = waves if renaming is None else waves[renaming]
        labels = self.fitted if order is None else self.fitted[order]
        coefficients, expected = self.fit if order is None and renaming is None else self.ridge.fit(waves, labels)
        top = np.argsort(-expected, kind="stable")[:TOP]
        return float(r_squared(self.ridge.predict(coefficients[:, top]), waves[self.judged][:, top]).mean()), top + 1

    def interval(self, top: np.ndarray) -> _bootstrap.Interval:
        """Of that R^2 over the sequences it was judged by, the characters, from 1 up, staying what they are."""
        coefficients, _ = self.fit
        predicted, true = self.ridge.predict(coefficients[:, top - 1]), self.prefixes.group.characters[self.judged][:, top - 1]
        return _bootstrap.jackknife(lambda rows: float(r_squared(predicted[rows], true[rows]).mean()), len(true))

    def accuracy(self) -> float:
        """The share of labels that all characters together give right: the nearest of the group's elements, all of which are equally far from 0."""
        waves = self.prefixes.group.characters
        coefficients, _ = self.fit
        products = self.ridge.predict(coefficients).view(np.float64) @ waves.view(np.float64).T  # the real parts of those with conjugates
        return float((products.argmax(1) == self.judged).mean())

    def nulls(self) -> dict[str, np.ndarray]:
        """{null: (FEWEST_FOR_P,) R^2}."""
        orders, renamings = (islice(permutations(n, SEED), FEWEST_FOR_P) for n in (len(self.fitted), len(self.prefixes.group.elements)))
        return {
            "shuffled": np.array([self.r_squared(order=order)[0] for order in orders]),
            "renamed": np.array([self.r_squared(renaming=renaming)[0] for renaming in renamings]),
        }


def analyse(subject: Subject) -> Result | Skip:
    if subject.without_taps:
        return Skip(subject.without_taps)
    if subject.is_text or read_json(subject.raw / "facts.json").get("spec") != "modular":
        return Skip(f"the task does not calculate modulo {VALUES}")
    if subject.options.length < SHORTEST:
        return Skip(f"reads prefixes of {SHORTEST} terms and more, interpret.length is {subject.options.length}")
    families = [prefixes(subject, family) for family in WALKS]
    for found in families:
        if min(found.fitted, len(found.ids) - found.fitted) < FEWEST:
            return Skip(f"needs {FEWEST} different {found.family} sequences of {subject.options.length} terms to fit probes on, and as many to judge them by")

    fresh = [(spectra(model), {probe.name: (probe.r_squared()[0], probe.accuracy()) for probe in probes(model, families)}) for model in untrained(subject)]
    shares = spectra(subject.model)
    shuffled = {(weights, group): shuffled_power(_table(subject.model, weights)[group.elements]) for weights, group in shares}
    metrics: dict[str, Estimate] = {}
    spectrum: list[Row] = []
    for (weights, group), share in shares.items():
        nulls = {"shuffled": few(shuffled[weights, group]), "untrained": np.array([few(model[weights, group]) for model, _ in fresh])}
        strongest = int(share.argmax()) + 1
        ends = interval(_table(subject.model, weights)[group.elements], np.argsort(-share, kind="stable")[:TOP] + 1)
        score = estimate(float(few(share)), len(group.elements), nulls, **ends, frequency=strongest, order=group.order(strongest))
        metrics[f"{weights}.{group.name}.top{TOP}"] = score
        spectrum += [{"weights": weights, "group": group.name, "frequency": k, "order": group.order(k), "share": s} for k, s in enumerate(share, start=1)]
    rows: list[Row] = []
    for probe in probes(subject.model, families):
        family, target, site = probe.name
        r2, top = probe.r_squared()
        r2s, accuracies = np.array([scores[probe.name] for _, scores in fresh]).T
        score = estimate(r2, len(probe.judged), {**probe.nulls(), "untrained": r2s}, **probe.interval(top))
        metrics[f"{family}.{target}.R2.{site}"] = score
        facts = {"sequences": family, "target": target, "site": site, "n": len(probe.judged), "R2": r2, "R2_low": score["low"], "R2_high": score["high"]}
        facts |= {f"R2_{key}": score[key] for key in ("shuffled", "shuffled_high", "renamed", "renamed_high", "untrained", "untrained_low", "untrained_high")}
        rows.append(facts | {"accuracy": probe.accuracy(), "accuracy_untrained": accuracies.mean(), "frequencies": " ".join(map(str, top))})
    thresholds = {name: float(np.quantile(null.max(1), 0.95)) for name, null in shuffled.items()}
    return Result(metrics, {"": _draw(shares, thresholds, rows)}, {"": rows, "spectrum": spectrum}, claims=_claims(metrics, rows[-1]["site"]))


def _claims(metrics: dict[str, Estimate], last: str) -> list[Claim]:
    """Of the tables against shuffled values, of the last site against renamed ones."""
    claims = []
    for name, found in metrics.items():
        if name.endswith(f".R2.{last}"):
            family, target, _ = name.split(".", 2)
            sentence = f"After the last block the R² of the best waves of the {target} of {family} sequences"
            claims.append(_verdicts.against(sentence, name, found, "renamed", "waves over values in another order"))
        elif ".R2." not in name:
            weights, group, _ = name.split(".")
            sentence = f"The share of the variance of the {weights} table in the few largest {group} characters"
            claims.append(_verdicts.against(sentence, name, found, "shuffled", "shuffled values"))
    return claims


def _table(model: Model, weights: str) -> np.ndarray:
    """(VALUES, D): a row a value, of the embeddings or of the head."""
    return np.asarray(getattr(model, weights).weight.detach().cpu().numpy()[:VALUES], np.float64)


def spectra(model: Model) -> dict[tuple[str, Group], np.ndarray]:
    """{(weights, group): (K,) shares of the variance}; a head that is the embeddings is not listed again."""
    tables = ["embed"] if model.config.tie_embeddings else ["embed", "head"]
    return {(weights, group): power(_table(model, weights)[group.elements]) for weights in tables for group in (ADDITIVE, MULTIPLICATIVE)}


def few(shares: np.ndarray) -> np.ndarray:
    """(..., K) -> (...): what the TOP largest add up to."""
    return np.asarray(np.sort(shares)[..., -TOP:].sum(-1))


def prefixes(subject: Subject, family: str) -> Prefixes:
    """Fitted on the test split, judged on held-out cells; where the task has none of this length, on the other half of the cells of the test split."""
    rows = _probes.sequences(subject, family, 2 * MOST)
    heldout = read_json(subject.raw / "facts.json")["splits"].get("heldout", {"row_length": 0})
    if heldout["row_length"] < subject.options.length:
        return Prefixes(family, rows, len(rows) // 2)
    fitted = rows[:MOST]
    return Prefixes(family, np.concatenate([fitted, _probes.sequences(subject, family, MOST, "heldout")]), len(fitted))


def probes(model: Model, families: list[Prefixes]) -> Iterator[Probe]:
    for found in families:
        ridges = {site: Ridge(x, found.fitted) for site, x in residuals(model, found).items()}
        for target, labels in found.labels().items():
            for site, ridge in ridges.items():
                yield Probe((found.family, target, site), ridge, found, labels)


def residuals(model: Model, found: Prefixes) -> dict[str, np.ndarray]:
    """{site: (N, D)}: the residual stream at the last term of every prefix; those of about one length are read together."""
    order = np.argsort(found.last, kind="stable")
    read = states(model, found.ids[order], np.arange(len(order)), found.last[order], residual_sites(model, "resid_mid", "resid_post"))
    return {site: x[np.argsort(order)] for site, x in read.items()}


def _draw(found: dict[tuple[str, Group], np.ndarray], thresholds: dict[tuple[str, Group], float], rows: list[Row]) -> Figure:
    """Left the share of each character of the two groups; right R^2 by site, of the model and of untrained ones."""
    sites = list(dict.fromkeys(row["site"] for row in rows))
    wide = max(4.6, 0.62 * len(sites) + 1.5)  # inches
    with matplotlib.rc_context(CHART):
        figure = Figure(figsize=(5.2 + wide, 6.2), layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(4.4, wide))
        for row, group in enumerate((ADDITIVE, MULTIPLICATIVE)):
            axes = figure.add_subplot(grid[row, 0])
            _draw_spectrum(axes, group, {weights: shares for (weights, of), shares in found.items() if of is group}, thresholds["embed", group])
        for row, (key, title) in enumerate((("R2", "the trained model"), ("R2_untrained", "untrained models"))):
            axes = figure.add_subplot(grid[row, 1])
            image = _draw_scores(axes, rows, sites, key)
            axes.set_title(f"R² of the {TOP} best characters: {title}")
        figure.colorbar(image, ax=figure.axes[-2:], pad=0.01, aspect=40).outline.set_visible(False)
    return figure


def _draw_spectrum(axes: Axes, group: Group, found: dict[str, np.ndarray], threshold: float) -> None:
    width = 0.9 / len(found)
    for number, (weights, shares) in enumerate(found.items()):
        axes.bar(np.arange(1, len(shares) + 1) + (number - (len(found) - 1) / 2) * width, shares, width, color=COLOURS[number], label=weights)
    axes.axhline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 2)), label="95 % of shuffled values stay below")
    strongest = [int(k) + 1 for k in np.argsort(-found["embed"], kind="stable")[:TOP]]
    orders = "" if group is ADDITIVE else f", of order {', '.join(str(group.order(k)) for k in strongest)}"
    axes.set_title(f"{group.name} characters\nhighest: {', '.join(map(str, strongest))}{orders}", fontsize=9)
    axes.set(xlabel=f"turns in {len(group.elements)} {'values' if group is ADDITIVE else f'powers of {ROOT}'}", ylabel="share of the variance")
    axes.set_ylim(0, 1.25 * max(threshold, *(shares.max() for shares in found.values())))
    axes.legend(fontsize=7.5, loc="upper center", ncols=len(found) + 1, handlelength=1.5, columnspacing=1.2)


def _draw_scores(axes: Axes, rows: list[Row], sites: list[str], key: str) -> AxesImage:
    names = list(dict.fromkeys(f"{row['sequences']}: {row['target']}" for row in rows))
    scores = np.array([row[key] for row in rows]).reshape(len(names), len(sites))
    image = axes.imshow(scores, cmap="viridis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for (y, x), score in np.ndenumerate(scores):
        axes.text(x, y, f"{abs(score) if abs(score) < 0.005 else score:.2f}", ha="center", va="center", fontsize=8, color="black" if score > 0.6 else "white")
    axes.set_xticks(range(len(sites)), [f"layer {site.replace('.resid_', chr(10))}" if "." in site else site for site in sites])
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return image
