"""The names of means lead to the figures of each seed: every name that an evaluation gives is looked up again, and gives the same."""

import pytest

from picollm.core.errors import UserError
from picollm.evaluation import addition, numeric, recall, text, urn
from picollm.report import seeds
from picollm.report.collect import Run
from picollm.report.figures import Style


def split(x, **more):
    """The figures of a split of rows."""
    own = {"loss": x, "accuracy": x + 1, "floor": x + 2, "excess": x + 3, "worst_excess": x + 4, "entropy": x + 5, "bayes_entropy": x + 6}
    return {**own, "calibration_error": x + 7, "identified_accuracy": x + 8, "first_error": {"never": x + 9}, "exact": {"mean": x + 10}, **more}


def rows(x):
    families = {name: split(x + 20) for name in ("walk", "arithmetic", "geometric", "alternating")}
    test, far = split(x, families=families), split(x + 50, families=families)
    return {
        "train": split(x + 100),
        "validation": split(x + 200),
        "test": test,
        "heldout": split(x + 300, families=families),
        "lengths": {"32": far, "512": far},
        "pairs": {"16": split(x + 400)},
        "strata": {"exact": x},
        "proof": {"failures": x + 1, "margin": x + 2, "rounding": x + 3, "holds": True},
    }


def corpus(x):
    packed = {"loss": x, "perplexity": x + 1, "accuracy": x + 2, "bits_per_byte": x + 3}
    documents = {
        "loss": x + 10,
        "accuracy": x + 11,
        "bits_per_byte": x + 12,
        "excess_bits_per_byte": x + 13,
        "floor_bits_per_byte": x + 14,
        "floor_loss": x + 15,
    }
    sources = {"tales": {"packed": {"loss": x + 20, "bits_per_byte": x + 21}}}
    own = {"packed": packed, "documents": documents, "sources": sources}
    held = {"documents": {"bits_per_byte": x + 30, "excess_bits_per_byte": x + 31}}
    pairs = {"accuracy": x + 40, "categories": {"long-range": {"accuracy": x + 41}}}
    return {"validation": {**own, "packed": {**packed, "loss": x + 50}}, "test": own, "heldout_templates": held, "pairs": pairs}


def unspanned(x):
    """Of a corpus none of whose documents fits into the context."""
    result = corpus(x)
    return {"validation": {**result["validation"], "documents": {"skipped": "too long"}}}


@pytest.mark.parametrize(("module", "make"), [(numeric, rows), (recall, rows), (urn, rows), (addition, rows), (text, corpus), (text, unspanned)])
def test_every_name_of_an_evaluation_leads_back_to_its_seeds(module, make):
    results = {0: make(0.5), 1: make(1000.0)}
    run = Run("a", {}, Style(""), evaluation={"seeds": {str(seed): result for seed, result in results.items()}})
    names = module.summaries(results)
    assert len(names) > 5
    for name in names:
        seeds.check(name, {})
        assert seeds.of_run(run, name) == {str(seed): module.summaries({seed: result})[name]["mean"] for seed, result in results.items()}, name


def test_what_only_training_measured():
    points = ((0, 10, "0.5"), (0, 20, "1"), (0, 30, "1"), (1, 10, ""))
    curve = [{"seed": str(seed), "step": str(step), "validation_exact": exact} for seed, step, exact in points]
    run = Run("a", {}, Style(""), train={"seeds": {"0": {"train_loss": 1.0}}}, curve=curve)
    assert seeds.of_run(run, "train_loss") == {"0": 1.0}
    assert seeds.of_run(run, "steps_to_exact") == {"0": 20.0}
    assert seeds.of_run(run, "excess") == {}


def test_a_name_that_nothing_has_is_refused():
    with pytest.raises(UserError, match=r"unknown metric 'acuracy_64' \(did you mean 'accuracy'\?"):
        seeds.check("acuracy_64", {})
