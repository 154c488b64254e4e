"""Which heads attend alike: distances between all of them, the tree that these make, and whether its clusters are more than chance.

Three questions, each with its null. Does a tree fit the distances at all (cophenetic correlation, Sokal & Rohlf 1962)? Would
other sequences give the same clusters (adjusted Rand index of clusters found on two halves, Hubert & Arabie 1985)? Are
heads of a layer more alike than heads of different layers (against layers dealt out at random)?

Shapes: N sequences, L layers, H heads a layer, T tokens.
"""

from itertools import islice

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import average, cophenet, dendrogram, fcluster
from scipy.spatial.distance import squareform

from picollm.analysis import _bootstrap, _heads, _inputs, _verdicts
from picollm.analysis._attention import shares
from picollm.analysis._drawing import HEATMAP
from picollm.analysis._nulls import permutations, untrained
from picollm.analysis._result import Claim, Estimate, Result, Row, Skip, Subject, estimate
from picollm.report.figures import COLOURS

SEQUENCES = 32
SPLITS = 40  # of the sequences into halves
FEWEST = 4  # sequences: two in each half
SEED = 7
TINY = 1e-9


def analyse(subject: Subject) -> Result | Skip:
    if subject.without_weights:
        return Skip(subject.without_weights)
    c = subject.model.config
    if c.depth * c.n_head < 3:
        return Skip(f"{c.depth * c.n_head} heads make no tree")
    inputs = [found for found in _inputs.inputs(subject, SEQUENCES) if len(found.ids) >= FEWEST]
    if not inputs:
        return Skip(f"needs {FEWEST} different sequences to split into halves")
    layers = np.repeat(np.arange(c.depth), c.n_head)
    clusters = max(2, len(layers) // 2)
    fresh = [[_between_heads(shares(model, found.ids)) for found in inputs] for model in untrained(subject)]
    metrics: dict[str, Estimate] = {}
    table: list[Row] = []
    figures: dict[str, Figure] = {}
    claims: list[Claim] = []
    for index, found in enumerate(inputs):
        apart = _between_heads(shares(subject.model, found.ids))  # (N, LH, LH)
        null = [model[index] for model in fresh]
        metrics |= {f"{found.name}.{name}": value for name, value in _scores(apart, null, layers, clusters).items()}
        tree = average(squareform(apart.mean(0), checks=False))
        named = _heads.names(c.depth, c.n_head)
        cluster = fcluster(tree, clusters, "maxclust")
        table += [
            {"sequences": found.name, "head": name, "cluster": int(its)} | {f"to_{other}": d for other, d in zip(named, row, strict=True)}
            for name, its, row in zip(named, cluster, apart.mean(0), strict=True)
        ]
        figures[found.name] = _draw(apart.mean(0), tree, named, layers, found.name)
        claims += _claims(found.name, metrics)
    return Result(metrics, figures, {"": table}, claims=claims)


def _between_heads(matrices: np.ndarray) -> np.ndarray:
    """(L, N, H, T, T) -> (N, LH, LH), 0 on the diagonal."""
    heads = _heads.flat(matrices)
    apart = _heads.distances(heads, heads)
    apart[:, np.arange(apart.shape[1]), np.arange(apart.shape[1])] = 0  # but for rounding
    return (apart + apart.swapaxes(1, 2)) / 2


def _scores(apart: np.ndarray, fresh: list[np.ndarray], layers: np.ndarray, clusters: int) -> dict[str, Estimate]:
    n, heads = apart.shape[:2]
    pair = np.triu_indices(heads, 1)
    mean = apart[:, *pair].mean(1)
    across = layers[pair[0]] != layers[pair[1]]
    fit = _bootstrap.jackknife(lambda rows: cophenetic(apart[rows].mean(0)), n)
    nulls = {"untrained": np.array([cophenetic(one.mean(0)) for one in fresh])}
    result = {
        "distance": estimate(mean.mean(), n, {"untrained": np.array([one[:, *pair].mean() for one in fresh])}, **_bootstrap.ratio(mean)),
        "cophenetic": estimate(cophenetic(apart.mean(0)), n, nulls, low=max(-1.0, fit["low"]), high=min(1.0, fit["high"])),
    }
    rand = stability(apart, clusters)
    low, high = np.quantile(rand, [0.025, 0.975])
    nulls = {"untrained": np.array([stability(one, clusters).mean() for one in fresh])}
    result["stability"] = estimate(rand.mean(), n, nulls, low=float(low), high=float(high), clusters=clusters)
    if len(set(layers)) > 1 and not across.all():
        gap = apart[:, *pair][:, across].mean(1) - apart[:, *pair][:, ~across].mean(1)
        dealt = [layer_gap(apart.mean(0), layers[order]) for order in permutations(heads, SEED)]
        nulls = {"dealt": np.array(dealt), "untrained": np.array([layer_gap(one.mean(0), layers) for one in fresh])}
        result["layer_gap"] = estimate(gap.mean(), n, nulls, **_bootstrap.ratio(gap))
    return result


def cophenetic(apart: np.ndarray) -> float:
    """(heads, heads) -> the correlation of distances with those within the tree; 0 where all are alike."""
    condensed = squareform(apart, checks=False)
    if np.ptp(condensed) < 1e-9:
        return 0.0
    return float(cophenet(average(condensed), condensed)[0])


def layer_gap(apart: np.ndarray, layers: np.ndarray) -> float:
    """How much further apart heads of different layers are than heads of one."""
    first, second = np.triu_indices(len(layers), 1)
    across = layers[first] != layers[second]
    return float(apart[first, second][across].mean() - apart[first, second][~across].mean())


def stability(apart: np.ndarray, clusters: int) -> np.ndarray:
    """(N, heads, heads) -> (SPLITS,): the adjusted Rand index of the clusters of two halves of the sequences."""
    n, found = len(apart), []
    for order in islice(permutations(n, SEED), SPLITS):
        halves = (fcluster(average(squareform(apart[half].mean(0), checks=False)), clusters, "maxclust") for half in np.array_split(order, 2))
        found.append(adjusted_rand(*halves))
    return np.array(found)


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> float:
    """Of two clusterings (n,): 1 for the same, 0 on average for clusters dealt out at random."""
    counts = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(counts, (a, b), 1)
    both, first, second = ((x * (x - 1) / 2).sum() for x in (counts, counts.sum(1), counts.sum(0)))
    pairs = len(a) * (len(a) - 1) / 2
    expected = first * second / pairs
    most = (first + second) / 2
    return float((both - expected) / (most - expected)) if most != expected else 1.0


def _claims(name: str, metrics: dict[str, Estimate]) -> list[Claim]:
    stable = _verdicts.against(
        f"On {name} sequences the agreement of heads' clusters between halves of the sequences",
        f"{name}.stability", metrics[f"{name}.stability"], "untrained", "untrained models",
    )  # fmt: skip
    gap = f"{name}.layer_gap"
    if gap not in metrics:
        return [stable]
    sentence = f"On {name} sequences the distance by which heads of different layers are further apart than heads of one layer"
    return [stable, _verdicts.against(sentence, gap, metrics[gap], "dealt", "layers dealt out at random")]


def _draw(apart: np.ndarray, tree: np.ndarray, names: list[str], layers: np.ndarray, title: str) -> Figure:
    """The tree above the matrix of distances, whose rows and columns are in its order; names in the colour of their layer."""
    size = max(3.4, 0.27 * len(names))
    with matplotlib.rc_context(HEATMAP):
        figure = Figure(figsize=(size + 1.2, size + 1.8), layout="constrained")
        above, below = figure.subplots(2, 1, height_ratios=(1.2, size))
        raised = tree + np.array([0, 0, TINY, 0])  # heads that are all alike make a tree without any height, which cannot be drawn
        order = dendrogram(raised, ax=above, no_labels=True, color_threshold=0, above_threshold_color="#57606a")["leaves"]
        above.set_yticks([])
        above.set_title(f"{title}: Jensen-Shannon distance between heads", fontsize=10)
        image = below.imshow(apart[np.ix_(order, order)], cmap="viridis_r", vmin=0, vmax=max(1e-9, apart.max()), interpolation="nearest", aspect="auto")
        for axis in (below.xaxis, below.yaxis):
            axis.set_ticks(range(len(order)), [names[head] for head in order], fontsize=7, rotation=90 if axis is below.xaxis else 0)
            for text, head in zip(axis.get_ticklabels(), order, strict=True):
                text.set_color(COLOURS[layers[head] % len(COLOURS)])
        below.set(xlabel="layer.head", ylabel="layer.head")
        figure.colorbar(image, ax=below, fraction=0.05, pad=0.02).outline.set_visible(False)
    return figure
