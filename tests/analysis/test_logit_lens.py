"""The lens reads what was written by hand, and the formula written out gives the same numbers."""

from collections.abc import Callable
from math import exp, log

import numpy as np
import pytest
import torch

from picollm.analysis._predictions import Asked, asked
from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis.logit_lens import analyse, lens
from picollm.training.batches import IGNORED


def silent(subject: Subject) -> None:
    """No block writes anything."""
    for block in subject.model.blocks:
        for module in (block.attention.out, block.mlp.down):
            torch.nn.init.zeros_(module.weight)


def test_a_head_that_knows_the_successor_is_read_from_the_embedding(make: Callable[..., Subject]) -> None:
    """Embeddings are unit vectors, the head of token t + 1 is the vector of t: a count is known before any block."""
    V = 128
    subject = make(options={"sequence_types": ["counting"]}, d_model=V, tie_embeddings=False, positions="none", n_layer=1)
    silent(subject)
    with torch.no_grad():
        subject.model.embed.weight.copy_(torch.eye(V))
        subject.model.head.weight.copy_(torch.eye(V).roll(1, 0))
    result = analyse(subject)
    assert isinstance(result, Result)
    spread = ((1 - 1 / V) / V + 1e-5) ** 0.5  # of a unit vector, as layer norm sees it
    right, wrong = (1 - 1 / V) / spread, -1 / V / spread
    saved = log(V) - log(exp(right) + (V - 1) * exp(wrong)) + right
    for site in ("embed", "0"):
        assert result.metrics[f"counting.{site}.accuracy"]["value"] == 1
        assert result.metrics[f"counting.{site}.saved"]["value"] == pytest.approx(saved, abs=1e-4)
        assert result.metrics[f"counting.{site}.kl"]["value"] == pytest.approx(0, abs=1e-6)
    assert result.metrics["counting.settled"]["value"] == 0


def test_what_only_the_last_block_writes_is_unknown_before(make: Callable[..., Subject]) -> None:
    """A bias in the second block alone raises token 7: from then on it is the likeliest, whatever came before."""
    subject = make(d_model=128, tie_embeddings=False)
    silent(subject)
    model = subject.model
    with torch.no_grad():
        model.embed.weight.copy_(torch.eye(128))
        model.head.weight.copy_(torch.eye(128))
        model.blocks[1].mlp.down.bias[7] = 10
    ids = torch.randint(8, 100, (3, 6), generator=torch.Generator().manual_seed(0))
    found = lens(model, Asked("any", ids, torch.full_like(ids, 7)))
    assert found["accuracy"].tolist() == [[0] * 3, [0] * 3, [1] * 3]
    assert found["settled"].tolist() == [1] * 3
    assert np.all(found["kl"][:2] > 1)
    assert np.allclose(found["kl"][2], 0, atol=1e-6)


@pytest.mark.parametrize("position", ["pre", "post", "both"])
@pytest.mark.parametrize("kind", ["layernorm", "rmsnorm"])
def test_against_the_formula_written_out(make: Callable[..., Subject], position: str, kind: str) -> None:
    """Two blocks passed twice, with the embedding added before each; some places are not asked for."""
    subject = make(norm_position=position, norm=kind, loops=2, input_injection=True, tie_embeddings=position == "pre")
    model = subject.model
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.normal_(std=0.3, generator=generator)
    ids = torch.randint(0, 127, (4, 7), generator=generator)
    targets = ids.roll(-1, 1)
    targets[0, :3] = targets[2] = IGNORED
    found = lens(model, Asked("any", ids, targets))
    kept = {}
    with torch.no_grad():
        model(ids, tap=lambda site, value: kept.setdefault(site, value))

    def log_probabilities(x: np.ndarray) -> np.ndarray:
        if position != "post":
            x = x - x.mean(-1, keepdims=True) if kind == "layernorm" else x
            x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * model.norm.weight.detach().numpy()
            x = x + model.norm.bias.detach().numpy() if kind == "layernorm" else x
        logits = x @ model.head.weight.detach().numpy().T
        logits = logits - logits.max(-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    final = log_probabilities(kept["3.resid_post"].double().numpy())
    for site, name in enumerate(["embed", "0.resid_post", "1.resid_post", "2.resid_post", "3.resid_post"]):
        logs = log_probabilities(kept[name].double().numpy())
        for column, row in enumerate([0, 1, 3]):
            at = np.flatnonzero(targets[row] != IGNORED)
            wanted = targets[row][at].numpy()
            assert found["saved"][site, column] == pytest.approx(log(128) + logs[row, at, wanted].mean(), abs=1e-4)
            assert found["accuracy"][site, column] == pytest.approx((logs[row, at].argmax(-1) == wanted).mean())
            kl = (np.exp(final[row, at]) * (final[row, at] - logs[row, at])).sum(-1).mean()
            assert found["kl"][site, column] == pytest.approx(kl, abs=1e-4)


def test_large_vocabularies_come_in_parts(make: Callable[..., Subject], monkeypatch: pytest.MonkeyPatch) -> None:
    subject = make()
    ask = asked(subject)[0]
    whole = lens(subject.model, ask)
    monkeypatch.setattr("picollm.analysis.logit_lens.LOGITS", 3 * 11 * 128)
    parts = lens(subject.model, ask)
    assert all(np.allclose(whole[name], parts[name], atol=1e-6) for name in whole)


@pytest.mark.parametrize(("data", "names"), [("numeric", ["arithmetic", "alternating"]), ("text", ["text"]), ("parity", ["parity"]), ("recall", ["recall"])])
def test_every_task_is_asked(make: Callable[..., Subject], data: str, names: list[str]) -> None:
    """And no claim is without its numbers."""
    result = analyse(make(data, n_layer=1, attention="convolution", short_conv=3))
    assert isinstance(result, Result)
    assert {row["sequences"] for row in result.tables[""]} == set(names)
    for claim in result.claims:
        claim.filled(result.metrics)
    for found in result.metrics.values():
        assert {"value", "n", "low", "high", "untrained"} <= set(found)


def test_terms_before_the_third_are_not_asked(make: Callable[..., Subject]) -> None:
    ask = asked(make())[0]
    assert ask.places[0].tolist() == [False] + [True] * 10


def test_model_without_taps_is_skipped(make: Callable[..., Subject]) -> None:
    assert analyse(make(kind="lstm")) == Skip("lstm has no attention, and no taps inside its layers")
