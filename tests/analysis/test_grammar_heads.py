"""Spans arrive in tokens where they were; a planted head is found, and one that only knows distances is not; what serves nothing is not claimed."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from picollm.analysis import grammar_heads
from picollm.analysis._gold import Looks, Query, looks, permuted, preference, queries, score
from picollm.analysis._result import Result, Skip, Subject
from picollm.analysis._stories import Annotated, annotated
from picollm.analysis.grammar_heads import KINDS, ablated, analyse
from picollm.nn.decoder import attention_matrices
from picollm.tasks.text.fables import annotations, told
from picollm.tokenizers._shared import from_json


@pytest.fixture(scope="module", autouse=True)
def few_stories() -> object:
    """A test needs fewer stories than a study."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("picollm.analysis._stories.STORIES", 400)
        patch.setattr("picollm.analysis.grammar_heads.EACH", 10)
        yield


def test_queries_by_hand() -> None:
    """Tokens: 0 end, 1-2 Ann, 3 met, 4 Bo, 5 near the, 6 ponds, 7 was, 8 not, 9-10 sad, 11 she."""
    truth = {
        "mentions": [
            {"start": 1, "end": 3, "character": 0, "form": "name", "antecedent": None},
            {"start": 4, "end": 5, "character": 1, "form": "name", "antecedent": None},
            {"start": 11, "end": 12, "character": 0, "form": "pronoun", "antecedent": 0},
        ],
        "relations": [
            {"kind": "agreement", "verb": [7, 8], "head": [4, 5], "attractors": [[6, 7]]},
            {"kind": "negation", "cue": [8, 9], "scope": [9, 11]},
            {"kind": "negation", "cue": [8, 9], "scope": None},
        ],
    }
    assert list(queries(truth, 3, "antecedent")) == [Query(3, 11, (1, 3), ((4, 5),))]
    assert list(queries(truth, 3, "antecedent.ahead")) == [Query(3, 10, (1, 3), ((4, 5),))]
    assert list(queries(truth, 3, "subject")) == [Query(3, 7, (4, 5), ((6, 7),))]
    assert list(queries(truth, 3, "subject.ahead")) == [Query(3, 6, (4, 5), ())]  # the attractor is the token itself
    assert list(queries(truth, 3, "negation")) == [Query(3, 9, (8, 9), ((7, 8),)), Query(3, 10, (8, 9), ((7, 8),))]


def test_stories_keep_their_truth_in_tokens(tell: Callable[..., Subject]) -> None:
    """Every span spells in tokens what it spells in characters, to within the tokens that reach beyond it."""
    subject = tell(n_layer=1)
    tokenizer = from_json(subject.tokens.header["tokenizer"])
    stories = annotated(subject, (lambda truth: True,), 6)
    assert stories is not None
    originals = {tuple(tokenizer.encode(story.text)): (story, annotations(story)) for story in told("test", 7, 0, 400)}
    assert list(stories.lengths) == sorted(stories.lengths)
    for ids, length, truth in zip(stories.ids, stories.lengths, stories.truth, strict=True):
        story, wanted = originals[tuple(ids[1:length].tolist())]
        assert ids[0] == tokenizer.end
        assert set(ids[length:]) <= {tokenizer.end}
        for mention, known in zip(truth["mentions"], wanted["mentions"], strict=True):
            assert story.text[known["start"] : known["end"]] in tokenizer.decode(ids[mention["start"] : mention["end"]].tolist())
            assert mention["antecedent"] == known["antecedent"]
        for relation, known in zip(truth["relations"], wanted["relations"], strict=True):
            if relation["kind"] == "negation":
                assert story.text[slice(*known["cue"])] in tokenizer.decode(ids[slice(*relation["cue"])].tolist())


def invented(rng: np.random.Generator, M: int = 60, T: int = 50) -> list[Query]:
    tokens = rng.integers(20, T, M)
    starts = np.array([rng.integers(0, token - 1) for token in tokens])
    return [
        Query(i // 5, int(token), (int(start), int(start) + 1), ((int(start) + 1, int(start) + 2),))
        for i, (token, start) in enumerate(zip(tokens, starts, strict=True))
    ]


def given(asked: list[Query], weight: Callable[[Query, int], float], T: int = 50) -> Looks:
    """One head with some weight on each token so far."""
    rows = np.array([[weight(query, k) if k <= query.token else 0 for k in range(T)] for query in asked], float)
    rows /= rows.sum(1, keepdims=True)
    return Looks(asked, np.pad(rows.cumsum(1), ((0, 0), (1, 0)))[:, None])


def test_scores_of_pure_heads() -> None:
    asked = invented(np.random.default_rng(0))
    assert score(given(asked, lambda query, k: 1)).value() == pytest.approx(0)  # uniform
    assert score(given(asked, lambda query, k: query.target[0] == k)).value() == pytest.approx(1)
    assert score(given(asked, lambda query, k: query.target[0] != k)).value() < 0
    target, both, stories = preference(given(asked, lambda query, k: 1 + 2 * (query.target[0] == k)), 0)
    assert target / both == pytest.approx(0.75)
    assert stories.tolist() == [query.story for query in asked]


def test_a_head_of_distances_is_no_head_of_grammar() -> None:
    """It looks at tokens by how far back they are: with distances exchanged it scores the same on average; who knows the targets does not."""
    rng = np.random.default_rng(1)
    asked = invented(rng)
    distances = given(asked, lambda query, k: np.exp(-abs(query.token - k - 12) / 3))
    found, null = score(distances).value(), permuted(distances)
    assert null.shape == (200, 1)
    assert found == pytest.approx(null.mean(), abs=2 * null.std() + 0.01)
    knows = given(asked, lambda query, k: 1 + 20 * (query.target[0] == k))
    assert score(knows).value() > 3 * permuted(knows).max()


def test_exchanged_distances_stay_within_the_story() -> None:
    """Targets that are always the first token can lie nowhere else for the earliest query, and all distances are still there."""
    asked = [Query(0, token, (0, 1), ()) for token in range(5, 30)]
    found = given(asked, lambda query, k: k == 0)
    assert np.all(permuted(found) <= 1)
    assert permuted(found)[0] == pytest.approx(1)  # no two can be exchanged: the later one's distance does not fit the earlier one


def test_looks_are_rows_of_the_matrices(make: Callable[..., Subject]) -> None:
    model = make(attention="gated_delta", n_layer=2).model
    ids = np.random.default_rng(2).integers(0, 127, (11, 9))
    asked = {"a": [Query(0, 3, (1, 2), ()), Query(10, 8, (0, 4), ())], "b": [Query(9, 5, (2, 3), ())]}
    found = looks(model, Annotated(ids, np.full(11, 9), []), asked)
    sizes = attention_matrices(model, torch.from_numpy(ids)).abs().numpy()
    for kind, m, (story, token, (start, end)) in (("a", 0, (0, 3, (1, 2))), ("a", 1, (10, 8, (0, 4))), ("b", 0, (9, 5, (2, 3)))):
        rows = sizes[:, story, :, token].reshape(4, 9)
        wanted = rows[:, start:end].sum(1) / rows.sum(1)
        assert np.allclose(found[kind].sums[m, :, end] - found[kind].sums[m, :, start], wanted, atol=1e-6)


def planted(tell: Callable[..., Subject], useful: bool) -> Subject:
    """Layer 1, head 0 looks from any token at the words of negation; what it writes raises a token, or nothing."""
    subject = tell({"untrained": 19}, n_layer=2, positions="none", d_model=64, tie_embeddings=False)
    tokenizer = from_json(subject.tokens.header["tokenizer"])
    cues = [tokenizer.encode(f" {word}")[0] for word in ("not", "never", "nobody", "nothing", "no", "without", "cannot")]
    model = subject.model
    with torch.no_grad():
        model.embed.weight[:, 0] = 0
        model.embed.weight[cues, 0] = 5
        model.embed.weight[:, 1] = 5
        attention = model.blocks[1].attention
        q, k, v = attention.qkv.weight.view(3, 2, 32, 64)
        q[0] = k[0] = v[0] = 0
        q[0, 0, 1] = k[0, 0, 0] = 3
        v[0, 0, 0] = 1
        attention.out.weight[:, :32] = 0
        if useful:
            attention.out.weight[2:20, 0] = 3
    return subject


def test_a_planted_head_of_negation_is_found(tell: Callable[..., Subject]) -> None:
    result = analyse(planted(tell, useful=True))
    assert isinstance(result, Result)
    found = result.metrics["negation.score"]
    assert (found["layer"], found["head"]) == (1, 0)
    assert found["value"] > max(found["untrained_high"], found["permuted_high"])
    assert found["untrained_p"] == 0.05
    assert found["permuted_p"] < 0.01
    assert result.metrics["negation.preference"]["value"] > 0.9
    own = [row for row in result.tables[""] if row["kind"] == "negation"]
    assert [row["head"] for row in own if row["permuted_p"] < 0.05] == [0]
    assert {row["kind"] for row in result.tables[""]} <= set(KINDS)
    for claim in result.claims:
        claim.filled(result.metrics)


def test_looking_is_not_using(tell: Callable[..., Subject]) -> None:
    """The same head writes nothing: taking it out changes no loss."""
    result = analyse(planted(tell, useful=False))
    assert isinstance(result, Result)
    assert result.metrics["negation.score"]["value"] > result.metrics["negation.score"]["permuted_high"]
    assert result.metrics["negation.ablation"]["value"] == 0
    said = [claim.filled(result.metrics) for claim in result.claims if claim.text.startswith(KINDS["negation"])]
    assert said[-1].endswith("that it serves this was tested and not found.")


def test_ablation_by_hand(make: Callable[..., Subject]) -> None:
    """The last layer's head, without an MLP behind it: its own mean in place of its output, and the loss anew."""
    model = make(n_layer=1).model
    nn.init.normal_(model.blocks[0].attention.out.weight)
    ids = np.random.default_rng(3).integers(0, 127, (3, 7))
    lengths = np.array([7, 5, 7])
    found = ablated(model, Annotated(ids, lengths, []))
    assert found.shape == (2, 3, 7)
    assert np.all(found[:, 1, 4:] == 0)
    assert np.all(found[:, :, 6] == 0)
    kept = {}
    tensor = torch.from_numpy(ids)
    with torch.no_grad():
        plain = model(tensor, tap=lambda site, value: kept.setdefault(site, value)).log_softmax(-1)
        real = torch.arange(7) < torch.from_numpy(lengths)[:, None]
        z = kept["0.z"].clone()
        z[:, 1] = z[:, 1][real].mean(0)
        changed = model(tensor, tap=lambda site, value: z if site == "0.z" else value).log_softmax(-1)
    for row, place in ((0, 0), (1, 3), (2, 5)):
        target = ids[row, place + 1]
        assert found[1, row, place] == pytest.approx(float(plain[row, place, target] - changed[row, place, target]), abs=1e-5)


def test_untrained_models_have_no_such_heads(tell: Callable[..., Subject]) -> None:
    result = analyse(tell({"untrained": 19}, n_layer=1, attention="linear"))
    assert isinstance(result, Result)
    for kind in KINDS:
        if f"{kind}.score" in result.metrics:
            found = result.metrics[f"{kind}.score"]
            assert found["untrained_p"] > 0.05 or found["permuted_p"] > 0.05
    for found in result.metrics.values():
        assert {"value", "n", "low", "high"} <= set(found)


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ({"kind": "lstm"}, "lstm has no attention, and no taps inside its layers"),
        ({"attention": "convolution", "short_conv": 3}, "a convolution has no attention matrix"),
        ({}, "its data are no fables, of which alone the grammar is known"),
    ],
)
def test_skips(make: Callable[..., Subject], block: dict[str, object], reason: str) -> None:
    assert analyse(make("text", **block)) == Skip(reason)


def test_what_a_tokenizer_or_a_model_cannot_hold_is_a_skip(tell: Callable[..., Subject], make: Callable[..., Subject]) -> None:
    subject = tell(n_layer=1, positions="learned", block_size=20)
    assert analyse(subject) == Skip("no story fits into the 20 tokens that the model takes")
    foreign = make("text", n_layer=1)
    mixed = Subject(foreign.model, foreign.tokens, subject.raw, foreign.options)
    found = grammar_heads.analyse(mixed)
    assert isinstance(found, Skip)
    assert found.reason.startswith("its tokenizer cannot spell the fables (")
