"""The roles of heads rest on what TransformerLens's head detector measures.

Theirs is the share of all attention that lies on a pattern of pairs. Ours asks only rows that can show the role, from the third token on, takes the
mean over all rows of all sequences, and corrects it for what attention without any preference would give. So their detector is given their
own pattern without the rows that are not asked: the weight that it finds, before anything is corrected, is compared; then their
number, put through our correction, with our score.
"""

import numpy as np
import pytest
import torch
from lens_models import T, built
from transformer_lens import head_detector

from picollm.analysis._role_probes import Probes
from picollm.analysis._roles import START, Roles, _of_repeats, _of_stored, patterns

PATTERNS = {"previous": "previous_token_head", "duplicate": "duplicate_token_head", "induction": "induction_head"}


@pytest.fixture
def detect(bridge, monkeypatch):
    """detect(sequence (T,), pattern): (L, H), their detector on ids; it begins by turning a text into them."""
    monkeypatch.setattr(type(bridge), "to_tokens", lambda self, ids: ids)

    def detected(ids, pattern):
        with torch.no_grad():
            return head_detector.detect_head(bridge, ids[None], pattern)

    return detected


def theirs_without_the_first(role: str, ids: torch.Tensor) -> torch.Tensor:
    """(T, T): their pattern, of the rows that ours asks."""
    pattern = getattr(head_detector, f"get_{PATTERNS[role]}_detection_pattern")(ids[None])
    pattern[:START] = 0
    return pattern


@pytest.mark.parametrize("role", PATTERNS)
def test_the_share_on_their_whole_pattern_is_the_same(model, ids, detect, role, close):
    """No row left out, nothing corrected: the patterns of ours under the mask of theirs."""
    weights = patterns(model, ids.numpy())  # (L, N, H, T, T)
    for number, sequence in enumerate(ids[:4]):
        mask = getattr(head_detector, f"get_{PATTERNS[role]}_detection_pattern")(sequence[None]).numpy()
        close(f"{role} heads, share of all attention", (weights[:, number] * mask).sum((-2, -1)) / T, detect(sequence, PATTERNS[role]))


@pytest.mark.parametrize("role", PATTERNS)
def test_a_score_is_their_share_corrected_for_chance(model, ids, detect, role, close):
    probes = Probes(ids.numpy(), ids.numpy(), np.empty(0, np.int64), numeric=False)
    masks = [theirs_without_the_first(role, sequence) for sequence in ids]
    taken = T * torch.stack([detect(sequence, mask) for sequence, mask in zip(ids, masks, strict=True)], 1)  # (L, N, H)
    of = _of_stored if role == "previous" else _of_repeats
    ours = dict(of(patterns(model, probes.stored), probes.stored, probes))[role]
    close(f"{role} heads, weight", ours.taken[..., 0], taken)

    asked = sum(float(mask.any(-1).sum()) for mask in masks)
    flat = torch.tril(torch.ones(T, T)) / torch.arange(1, T + 1)[:, None]
    options = {"exclude_bos": False, "exclude_current_token": False, "error_measure": "mul"}
    chance = T * sum(head_detector.compute_head_attention_similarity_score(flat, mask, **options) for mask in masks) / asked
    score = (taken.sum(1) / asked - chance) / (1 - chance)
    close(f"{role} heads, score", Roles(model, probes).scores(model)[role].mean, score)


def test_the_heads_compared_do_something(ids):
    """Else these would be scores of noise: what was trained to copy has a head for it, in its second layer."""
    probes = Probes(ids.numpy(), ids.numpy(), np.empty(0, np.int64), numeric=False)
    first, second = Roles(built("gelu", "trained"), probes).scores(built("gelu", "trained"))["induction"].mean
    assert second.max() > 0.5 > first.max()
