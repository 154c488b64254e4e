"""Adders: what the proofs count is what plain passes over all pairs give, and every stratum holds what its name says."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from picollm import models
from picollm.core.errors import UserError
from picollm.core.tokens import open_tokens
from picollm.evaluation import addition as evaluation
from picollm.evaluation._addition import proof, strata
from picollm.evaluation._addition.counting import Count
from picollm.evaluation._addition.factored import Halves
from picollm.evaluation._addition.factored import applies as factors
from picollm.evaluation._addition.tree import Tree
from picollm.tasks import addition
from picollm.tasks._rows import generator
from picollm.tasks.addition.bases import to_digits, value_of
from picollm.tasks.addition.carries import longest_chain
from picollm.tasks.addition.rows import rows
from picollm.training.batches import from_rows

TASK = addition.Config(kind="addition", base=3, digits=[1, 3], train=20, validation=20, test=50, long=20, long_lengths=[2, 5], heldout=0.1)
ONE = {"n_layer": 1, "n_head": 2, "d_model": 16, "positions": "learned", "position_ids": "block", "block_size": 8}


def trained(task, steps=120, **options):
    """An adder that has got some way: right on some pairs, wrong on others."""
    torch.manual_seed(0)
    model = models.build({"kind": "transformer", **ONE, **options}, task.vocab_size, "model")
    optimizer, batches = torch.optim.AdamW(model.parameters(), 0.01), addition.stream(task, 0, 64)
    for step in range(steps):
        ids, targets = batches(step)
        batch = from_rows(ids, task.pad, targets)
        optimizer.zero_grad()
        model.loss(batch.inputs, batch.targets).backward()
        optimizer.step()
    return model.eval()


def every_pair(task):
    W = task.digits[1]
    values = np.array(list(product(range(task.base**W), repeat=2)))
    return np.stack([to_digits(values[:, operand], task.base, W) for operand in range(2)], 1)


@torch.inference_mode()
def by_hand(model, task):
    """(N,) margins of all pairs in plain passes, and the pairs."""
    digits = every_pair(task)
    ids, targets = rows(task, digits, np.full(digits.shape[:2], task.digits[1]))
    batch = from_rows(ids, task.pad, targets)
    logits = model(batch.inputs)
    margin = torch.full(batch.targets.shape, float("inf"))
    for n, t in torch.nonzero(batch.targets >= 0).tolist():
        others = torch.cat((logits[n, t, : batch.targets[n, t]], logits[n, t, batch.targets[n, t] + 1 :]))
        margin[n, t] = logits[n, t, batch.targets[n, t]] - others.max()
    return margin.amin(1).numpy(), digits


CASES = {
    "halves": (TASK, {}),
    "halves of one column": (replace(TASK, digits=[1, 1], base=5, heldout=0.3), {"output_norm": True, "n_kv_head": 1}),
    "halves of four": (replace(TASK, digits=[1, 4], base=2), {"norm": "rmsnorm", "activation": "relu2", "bias": False, "position_ids": "coupled"}),
    "halves of a window": (TASK, {"positions": "rope", "column_window": 1}),
    "halves of a window with sinks": (TASK, {"positions": "rope", "column_window": 1, "sinks": True}),
    "two layers": (TASK, {"n_layer": 2}),
    "loops": (TASK, {"loops": 2, "input_injection": True}),
    "rope": (TASK, {"positions": "rope", "position_ids": "sequential"}),
    "plain order": (replace(TASK, order="plain"), {}),
    "two tokens a pass": (replace(TASK, tokens_per_pass=2), {}),
    "all tokens a pass": (replace(TASK, tokens_per_pass="all"), {"n_layer": 2}),
}


@pytest.fixture(scope="module", params=CASES.values(), ids=list(CASES))
def case(request):
    task, options = request.param
    model = trained(task, **options)
    return model, task, *by_hand(model, task)


def counted(machine):
    total = Count()
    for unit in machine.units:
        total += machine.count(unit)
    return total


def agrees(total, margin, digits, task):
    wrong = margin <= 0
    assert 0 < wrong.sum() < len(wrong)  # else the test says nothing
    assert total.pairs == len(margin)
    assert total.failures == wrong.sum()
    assert total.margin == pytest.approx(margin.min(), abs=1e-4)


def test_all_pairs_are_counted_as_plain_passes_count_them(case):
    model, task, margin, digits = case
    for machine in [Tree, Halves] if factors(model, task) else [Tree]:
        total = counted(machine(model, task, columns=False))
        agrees(total, margin, digits, task)
        assert total.cases == total.pairs
        values = [tuple(value_of(number.tolist(), task.base) for number in pair) for pair in digits[margin <= 0]]
        assert sorted((a, b) for a, b, _ in total.listed) == sorted(values)
        assert all(said != a + b for a, b, said in total.listed)


def test_columns_decide_all_pairs_where_a_certificate_says_so(case):
    model, task, margin, digits = case
    if reason := proof.why_no_certificate(model, task):
        with pytest.raises(UserError, match=r"a certificate (needs|is for)"):
            proof.prove(model, task, "certificate")
        assert reason
        return
    W, kinds = task.digits[1], task.base * (task.base + 1) // 2
    for machine in [Tree, Halves] if factors(model, task) else [Tree]:
        total = counted(machine(model, task, columns=True))
        agrees(total, margin, digits, task)
        assert total.cases == kinds**W


@pytest.mark.parametrize("options", [{}, {"n_layer": 2}, {"positions": "rope", "position_ids": "sequential"}])
def test_only_where_a_certificate_is_possible_may_digits_of_a_column_be_swapped(options):
    model = trained(TASK, **options)
    margin, digits = by_hand(model, TASK)
    of = {digits_.tobytes(): value for digits_, value in zip(digits, margin, strict=True)}
    swapped = digits.copy()
    swapped[:, :, 1] = swapped[:, ::-1, 1]
    difference = max(abs(of[one.tobytes()] - of[other.tobytes()]) for one, other in zip(digits, swapped, strict=True))
    assert (difference < 1e-4) == (proof.why_no_certificate(model, TASK) is None)


def test_a_proof_holds_only_without_failures_and_beyond_rounding():
    good = Count(1, 1, 0, [], [[0.5, 0, 0]])
    assert proof.Proof("certificate", good, 1e-5).holds
    assert not proof.Proof("certificate", good, 0.6).holds
    assert not proof.Proof("certificate", Count(1, 1, 1, [], [[0.5, 0, 0]]), 1e-5).holds


def test_rounding_is_small_for_a_model_that_adds_columns_and_large_for_one_that_does_not():
    model = trained(TASK)
    total = proof.prove(model, TASK, "certificate")
    assert 0 < total.rounding < 1e-4
    with torch.no_grad():  # a wrong sum in the tables would show as a difference to the plain pass
        other = Count(total.count.cases, total.count.pairs, 0, [], [[margin + 0.1, a, b] for margin, a, b in total.count.closest])
    assert proof.rounding(model, TASK, other) == pytest.approx(0.1, abs=1e-3)


def test_a_stopped_proof_goes_on_and_another_models_state_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("picollm.evaluation._addition.tree.GROUP", 50)
    monkeypatch.setattr(proof, "SAVE_EVERY", 1)
    model, state = trained(TASK, n_layer=2), tmp_path / "state.json"
    whole = proof.prove(model, TASK, "exhaustive").count
    seen = []

    def stopping(self, unit, count=Tree.count):
        if len(seen) == 4:
            raise KeyboardInterrupt
        seen.append(unit)
        return count(self, unit)

    monkeypatch.setattr(Tree, "count", stopping)
    with pytest.raises(KeyboardInterrupt):
        proof.prove(model, TASK, "exhaustive", state=state)
    monkeypatch.undo()
    monkeypatch.setattr("picollm.evaluation._addition.tree.GROUP", 50)
    units = []
    monkeypatch.setattr(Tree, "count", lambda self, unit, count=Tree.count: units.append(unit) or count(self, unit))
    assert proof.prove(model, TASK, "exhaustive", state=state).count == whole
    assert min(unit[0] for unit in units) > max(unit[-1] for unit in seen)
    other = trained(TASK, steps=5, n_layer=2)
    assert proof.prove(other, TASK, "exhaustive", state=state).count == counted(Tree(other, TASK, False)) != whole


def test_the_parts_of_a_proof_may_be_computed_by_several_processes(monkeypatch):
    monkeypatch.setattr("picollm.evaluation._addition.factored.UNIT", 1)
    model = trained(TASK)
    assert proof.prove(model, TASK, "exhaustive", processes=2).count == proof.prove(model, TASK, "exhaustive").count


def test_no_proof_of_what_has_no_end_or_no_shared_prefix():
    model = trained(TASK, steps=1)
    with pytest.raises(UserError, match="fixed padding; take strata"):
        proof.prove(model, replace(TASK, padding="longest"), "exhaustive")
    torch.manual_seed(0)
    with pytest.raises(UserError, match="shared prefixes"):
        proof.prove(trained(replace(TASK, order="plain"), steps=1, position_ids="coupled", digit_order="plain"), replace(TASK, order="plain"), "exhaustive")
    with pytest.raises(UserError, match="shared prefixes"):
        proof.prove(models.build({"kind": "lstm"}, TASK.vocab_size, "model").eval(), TASK, "exhaustive")


def test_strata_hold_what_they_are_called():
    task = replace(TASK, base=10, digits=[1, 4])
    made = strata.suites(generator(0), 10, 4)
    values = {name: [[value_of(number.tolist(), 10) for number in pair] for pair in digits] for name, (digits, _) in made.items()}
    assert [9999, 9999] in values["nines"]
    assert [999, 1] in values["nines"]
    assert [1, 9999] in values["nines"]
    assert {5000, 1000, 999, 1001} <= {a for a, _ in values["boundaries"]}
    assert all(a + b in {10, 100, 1000, 10_000, 9, 99, 999, 9999} for a, b in values["complements"])
    columns = made["near"][0].sum(1)
    assert (np.unique(columns, return_counts=True)[1] > 0.23 * columns.size).all()
    assert np.unique(columns).tolist() == [8, 9, 10, 18]
    for chain, (digits, lengths) in strata._chains(generator(0), task, 4).items():
        assert (longest_chain(digits, 10) == chain).all()
        assert (lengths == strata.sizes(digits, 1)).all() or chain
        assert len(digits) == strata.EACH


@pytest.mark.parametrize("padding", ["none", "longest", "fixed"])
def test_a_wrong_answer_counts_in_its_stratum_alone(padding):
    """An oracle that is right except where four digits meet four."""
    task = replace(TASK, base=10, digits=[1, 4], padding=padding)

    class Oracle(torch.nn.Module):
        device = torch.device("cpu")

        def logits(self, ids):
            text = ids.tolist()
            result = torch.zeros(*ids.shape, task.vocab_size)
            for n, row in enumerate(text):
                cuts = [i for i, token in enumerate(row) if token == task.delimiter]
                one, other = row[cuts[0] + 1 : cuts[1]], row[cuts[1] + 1 : cuts[2]]
                a, b = value_of(one, 10), value_of(other, 10)
                width = 0 if padding == "none" else len(one) + 1
                answer = [int(digit) for digit in reversed(str(a + b).zfill(width))] + [task.delimiter]
                if min(a, b) >= 1000:
                    answer[1] = 0 if answer[1] else 1
                for place, token in enumerate(answer):
                    if cuts[2] + place < len(row):
                        result[n, cuts[2] + place, token] = 1
            return result

    found = strata.measure(Oracle(), task)
    assert found["lengths"].keys() == {f"{a}x{b}" for a, b in product(range(1, 5), repeat=2)}
    for name, rate in found["lengths"].items():
        assert rate["successes"] == (0 if name == "4x4" else strata.EACH), name
    assert set(found["chains"]) == set("01234")
    near = found["suites"]["near"]
    assert near["successes"] / near["n"] == pytest.approx((2 / 9 + 2 / 10) / 4, abs=0.02)  # a highest column with a zero: 0 + 8, 0 + 9, turned round or not
    rates = [rate for part in ("lengths", "chains", "suites") for name, rate in found[part].items() if name != "near"]
    right, asked = (sum(rate[key] for rate in rates) for key in ("successes", "n"))
    assert 0.7 < right / asked < 1
    assert found["exact"] == (right + near["successes"]) / (asked + near["n"])
    assert found["commutes"]["successes"] == found["commutes"]["n"]


def test_an_evaluation_says_exact_match_by_length_strata_and_proof(tmp_path):
    task = replace(TASK, proof="certificate")
    addition.generate(task, tmp_path / "raw")
    addition.tokenize(task, tmp_path / "raw", tmp_path / "tokens")
    tokens, model = open_tokens(tmp_path / "tokens"), trained(task, block_size=6)
    result = evaluation.evaluate(model, tokens, tmp_path / "raw")
    assert result["lengths"]["5"] == {"skipped": "answers of 6 digits; the position table has 6"}
    assert result["proof"]["failures"] == (by_hand(model, task)[0] <= 0).sum()
    exact = result["test"]["exact"]
    assert exact["mean"] == exact["successes"] / exact["n"] == pytest.approx(1 - sum(result["test"]["first_wrong_at"]) / 50)
    assert sum(result["test"]["wrong_at"]) >= sum(result["test"]["first_wrong_at"]) > 0
    assert sum(family["exact"]["n"] for family in result["test"]["families"].values()) == 50
    names = evaluation.summaries({0: result, 1: result})
    assert {"exact", "exact_2", "strata_exact", "proof_failures", "proof_margin", "proof_holds"} <= set(names)
    assert names["proof_failures"]["mean"] == result["proof"]["failures"]
    two = evaluation.evaluate(trained(task, steps=5, n_layer=2), tokens, tmp_path / "raw")
    assert "a certificate is for one layer" in two["proof"]["skipped"]
