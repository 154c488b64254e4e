"""A step of Muon in float32 against torch.optim.Muon, in bfloat16: as fast or faster where the processor has no instructions for bfloat16."""

import torch
from torch import nn

from benchmarks import timing
from picollm.training.muon import Muon
from picollm.training.optimizers import Optimizer

SIZES = {"8 wide, 1 block": (8, 1), "32 wide, 2 blocks": (32, 2), "128 wide, 2 blocks": (128, 2), "128 wide, 4 blocks": (128, 4)}


def matrices(width: int, blocks: int) -> list[nn.Parameter]:
    """Those of a transformer, with gradients."""
    shapes = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)] * blocks
    found = [nn.Parameter(0.02 * torch.randn(shape)) for shape in shapes]
    for matrix in found:
        matrix.grad = torch.randn_like(matrix)
    return found


def main(quick: bool = False) -> None:
    timing.prepare()
    print("muon: how many times as fast as torch.optim.Muon a step is")
    for name, size in SIZES.items():
        ours = Optimizer([{"rule": Muon(), "params": matrices(*size), "lr": 0.01, "weight_decay": 0.1}])
        theirs = torch.optim.Muon(matrices(*size), lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        seconds = timing.interleaved({"ours": ours.step, "torch": theirs.step}, rounds=5 if quick else 20)
        measured, *spread = timing.ratio(seconds, "torch", "ours")
        timing.report(name, measured, (spread[0], spread[1]))
