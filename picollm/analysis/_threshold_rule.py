"""The rule by which one of the projects that this study measures itself against sorts heads into four kinds; for comparison, never for a label.

It reports 85.7 % global, 8.9 % diagonal, 3.6 % local and 1.8 % token-specific heads of a model of 8 layers with 7 heads. Its text gives the
kinds in words, "current token or immediate neighbors" and "a small window (3-5 tokens)", and no threshold; here it is most of the weight.
Nothing is held against chance, and short rows have little else to look at than their neighbours: at 12 tokens attention without any
preference has 0.57 of its weight within 2 tokens.

Shapes: L layers, N sequences, H heads, T tokens.
"""

import numpy as np

KINDS = ("diagonal", "local", "token-specific", "global")
MOST = 0.5
DIAGONAL, LOCAL = 1, 2  # tokens back: itself and its neighbour; a window of five, of which a causal model sees three


def kinds(patterns: np.ndarray) -> np.ndarray:
    """(L, N, H, T, T) -> (L, H): the number of each head's kind, by the mean of its matrices."""
    mean = patterns.mean(1)  # (L, H, T, T)
    T = mean.shape[-1]
    near = [sum(np.diagonal(mean, -k, -2, -1).sum(-1) for k in range(back + 1)) / T for back in (DIAGONAL, LOCAL)]
    column = mean.mean(-2).max(-1)  # the share of the one token that gets most
    return np.select([near[0] > MOST, near[1] > MOST, column > MOST], [0, 1, 2], 3)
