"""What a part is worth and where an answer is decided come out the same when TransformerLens takes the part away, or puts another run's value in.

Every number is of one sequence or pair: no mean hides a difference.
"""

import numpy as np
import pytest
import torch
from lens_models import N, T, V, repeated
from transformer_lens import patching

from picollm.analysis._ablation import HOWS, Ablation, heads_of, layers_of
from picollm.analysis._counterfactuals import Pairs
from picollm.analysis.patching import patched
from picollm.training.batches import from_rows

HOOKS = {"head": "attn.hook_z", "attention": "hook_attn_out", "mlp": "mlp.hook_post"}


@torch.no_grad()
@pytest.mark.parametrize("how", HOWS)
def test_every_part_costs_the_same(model, bridge, ids, how, close):
    batch, chosen = from_rows(ids.numpy(), pad=-1), heads_of(model) + layers_of(model)
    ours = Ablation(model, batch, chosen).without([[part] for part in chosen], how)
    logits, cache = bridge.run_with_cache(ids[:, :-1])
    whole = nats(bridge, logits, ids)
    for part, cost in zip(chosen, ours, strict=True):
        name = f"blocks.{part.layer}.{HOOKS[part.kind]}"
        value = cache[name]  # (N, T, ...)
        other = {"zero": torch.zeros_like(value), "mean": value.mean((0, 1), keepdim=True).expand_as(value), "resampled": value.roll(1, 0)}[how]

        def replace(value, hook, other=other, part=part):
            if part.kind != "head":
                return other
            value[:, :, part.head] = other[:, :, part.head]
            return value

        without = bridge.run_with_hooks(ids[:, :-1], fwd_hooks=[(name, replace)])
        close(f"{part.kind} ablated: {how}", cost, nats(bridge, without, ids) - whole)


def nats(bridge, logits, ids):
    """(N,): the mean over each sequence's targets, by their own loss, which asks each token for the next."""
    return bridge.loss_fn(torch.cat((logits, logits[:, -1:]), 1), ids, per_token=True).mean(1)


@pytest.fixture
def pairs():
    """A repeated sequence, and the same with its tokens renamed: another answer at the same place. A class for every token, so all places are patched."""
    clean = repeated(N, 2000)
    corrupted = (clean + 1) % V
    last = np.full(N, T - 2)
    right, wrong = (ids[:, -1].numpy() for ids in (clean, corrupted))
    classes = {str(place): np.broadcast_to(np.arange(T - 1) == place, (N, T - 1)) for place in range(T - 1)}
    return Pairs(np.array(["repeats"] * N), clean[:, :-1].numpy(), corrupted[:, :-1].numpy(), last, right, wrong, classes)


@torch.no_grad()
def test_every_patch_moves_the_answer_as_far(model, bridge, pairs, close):
    clean, corrupted = torch.from_numpy(pairs.clean), torch.from_numpy(pairs.corrupted)
    rows = np.arange(N)

    def difference(logits):  # (N,), single as what their grids keep
        return (logits[rows, pairs.last, pairs.right] - logits[rows, pairs.last, pairs.wrong]).float()

    above, cache = bridge.run_with_cache(clean)
    found, settings = patched(model, pairs), {"reduce": "none", "baseline": True}
    assert found.patches[0] == ("embed", "0")
    entering = patching.get_act_patch_resid_pre(bridge, corrupted, cache, difference, **settings)
    leaving = patching.generic_activation_patch(
        bridge, corrupted, cache, difference, patching.layer_pos_patch_setter, "resid_post", index_axis_names=("layer", "pos"), **settings
    )
    heads = patching.get_act_patch_attn_head_out_all_pos(bridge, corrupted, cache, difference, **settings)
    apart = difference(above) - entering.baseline
    close("patching: how far apart the runs are", found.apart, apart)
    stream = torch.cat((entering.effect()[:1], leaving.effect()), 0) * apart.sign()  # (1 + L, T, N)
    moved = dict(zip(found.patches, found.moved, strict=True))
    sites = ["embed", *map(str, range(model.config.n_layer))]
    close("patching: residual stream", np.array([[moved[site, place] for place in pairs.classes] for site in sites]), stream)
    own = np.array([[moved[str(layer), f"head {head}"] for head in range(model.config.n_head)] for layer in range(model.config.n_layer)])
    close("patching: heads", own, heads.effect() * apart.sign())
