"""Named taps: the values inside a forward pass, handed to whoever listens, at no cost when nobody does.

A tap is any callable `tap(site, value) -> value`; returning something else than `value` edits the computation.
"""

from collections.abc import Callable, Collection

from torch import Tensor

Tap = Callable[[str, Tensor], Tensor]


def untapped(_site: str, value: Tensor) -> Tensor:
    return value


class Recorder:
    """A tap that keeps the values of `sites` (all of them when None): `recorder["0.q"]` after the forward pass."""

    def __init__(self, sites: Collection[str] | None = None) -> None:
        self.sites = sites
        self.values: dict[str, Tensor] = {}

    def __call__(self, site: str, value: Tensor) -> Tensor:
        if self.sites is None or site in self.sites:
            self.values[site] = value.detach()
        return value

    def __getitem__(self, site: str) -> Tensor:
        return self.values[site]
