"""Addition: rows as published, sums that are right, carries counted exactly, and problems that are held out from training."""

import time
from dataclasses import asdict, replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picollm.core.config import parse
from picollm.core.errors import UserError
from picollm.core.files import read_json
from picollm.tasks import addition
from picollm.tasks._rows import generator, load
from picollm.tasks.addition import sampling, sequences
from picollm.tasks.addition.bases import digits_of, to_digits, value_of
from picollm.tasks.addition.carries import add, longest_chain, plateaus
from picollm.tasks.addition.heldout import is_held_out
from picollm.tasks.addition.rows import rows, shifted, written

CONFIG = addition.Config(kind="addition", train=60, validation=20, test=20, long=5, long_lengths=[2, 6])
BOTH = [replace(CONFIG, padding="none"), CONFIG, replace(CONFIG, padding="longest")]
EXAMPLES = settings(max_examples=40)


def spelled(row, base=10):
    return "".join("+" if i == base else "P" if i == base + 1 else str(i) for i in row.tolist())


def problem(config, *numbers, width=4):
    digits = np.stack([to_digits(np.array([number]), config.base, width) for number in numbers], 1)
    return digits, np.array([[len(digits_of(number, config.base)) for number in numbers]])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"padding": "none", "order": "plain"}, "+1342+879+2221+"),
        ({"padding": "none"}, "+2431+978+1222+"),
        ({}, "+2431+9780+12220+"),
        ({"order": "plain"}, "+1342+0879+02221+"),
    ],
)
def test_a_problem_is_written_as_published(options, expected):
    config = replace(CONFIG, **options)
    ids, starts = written(config, *problem(config, 1342, 879))
    assert spelled(ids[0]) == expected
    assert starts[0] == expected[:-1].rindex("+") + 1


def test_two_tokens_a_pass_shift_the_targets_by_two():
    """The original's example: 21 + 378 = 399 in reverse, padded to 16 tokens; the pad is never scored."""
    config = replace(CONFIG, padding="none", tokens_per_pass=2)
    ids, starts = written(config, *problem(config, 21, 378))
    padded = np.pad(ids, ((0, 0), (0, 4)), constant_values=config.pad)
    assert spelled(padded[0]) == "+12+873+993+PPPP"
    assert spelled(shifted(padded, starts, 2, config.pad)[0]) == "PPPPPP993+PPPPPP"
    assert spelled(rows(config, *problem(config, 5672, 0))[0][0]).startswith("+2765+")


def test_all_tokens_a_pass_are_asked_for_before_any_of_them_is_read():
    config = replace(CONFIG, tokens_per_pass="all")
    ids, targets = rows(config, *problem(config, 1342, 879))
    assert (spelled(ids[0]), spelled(targets[0])) == ("+2431+9780+", "PPPPPP12220")


@EXAMPLES
@given(
    base=st.sampled_from([2, 10, 16, 100]), operands=st.integers(2, 4), order=st.sampled_from(["reversed", "plain"]), seed=st.integers(0, 999), data=st.data()
)
def test_every_row_is_a_sum(base, operands, order, seed, data):
    padding = data.draw(st.sampled_from(["none", "longest", "fixed"]))
    ahead = data.draw(st.integers(1, 2))
    config = replace(CONFIG, base=base, operands=operands, order=order, padding=padding, digits=[1, 5], tokens_per_pass=ahead)
    digits, lengths = sampling.problems(generator(seed), config, 10, 5, 0.5)
    whole, starts = written(config, digits, lengths)
    ids, targets = rows(config, digits, lengths)
    for row, start, asked, target in zip(whole, starts, ids, targets, strict=True):
        row = row[row != config.pad]
        cuts = np.flatnonzero(row == config.delimiter)
        numbers = [row[a + 1 : b] for a, b in pairwise(cuts)]
        values = [value_of((number if order == "reversed" else number[::-1]).tolist(), base) for number in numbers]
        assert len(values) == operands + 1
        assert sum(values[:-1]) == values[-1]
        if padding == "none":
            assert all(len(number) == len(digits_of(value, base)) for number, value in zip(numbers, values, strict=True))
        scored = np.flatnonzero(target != config.pad)
        assert (target[scored] == row[scored + ahead]).all()
        assert (scored[0] + ahead, scored[-1] + ahead) == (start, len(row) - 1)
        assert asked[: scored[-1] + 1].tolist() == row[: scored[-1] + 1].tolist()


@pytest.mark.parametrize(("base", "width"), [(2, 3), (3, 2), (10, 2)])
def test_plateaus_are_counts_over_all_pairs(base, width):
    numbers = to_digits(np.arange(base**width), base, width)
    pairs = np.array([[a, b] for a, b in product(numbers, numbers)])
    chain = longest_chain(pairs, base)
    assert plateaus(base, width) == [(chain <= most).sum() for most in range(width + 1)]
    truth = add(pairs, base, width + 1)
    for back in range(width + 1):  # what a model says that looks at so many columns before each, and takes no carry into the first of them
        right = np.ones(len(pairs), bool)
        for k in range(width + 1):
            window = np.zeros_like(pairs)
            window[:, :, max(0, k - back) : k + 1] = pairs[:, :, max(0, k - back) : k + 1]
            right &= add(window, base, width + 1)[:, k] == truth[:, k]
        assert right.sum() == plateaus(base, width)[back]


def test_plateaus_of_four_decimal_digits():
    assert [count / 10**8 for count in plateaus(10, 4)] == [0.09150625, 0.867025, 0.991, 0.99955, 1.0]


def test_a_missed_chain_is_one_short_of_a_carry_in_all_its_columns():
    """Of four digits whose chain goes over all columns: all of them add up to 9, or one at the front makes a carry of its own."""
    base, N, W = 10, 4000, 4
    lengths = np.full((N, 2), W)

    def drawn(missed: float) -> np.ndarray:
        rng = np.random.default_rng(1)
        return sampling.carrying_pairs(rng, base, sampling.exact(rng, base, lengths, W), lengths, missed).sum(1)

    made, missed, half = (drawn(share) for share in (0.0, 1.0, 0.5))
    whole = [(sums[:, :-1] == base - 1).all(1) for sums in (made, missed, half)]
    assert whole[0].mean() < 0.01, "in each of them something sets it off"
    assert whole[1].mean() > 0.33, "the third over all columns"
    assert whole[2].mean() == pytest.approx(whole[1].mean() / 2, abs=0.04)
    assert np.array_equal(drawn(0.0), made)


@pytest.mark.parametrize("base", [2, 10, 16])
def test_columns_add_up_to_what_they_should_and_every_pair_of_digits_is_as_likely(base):
    sums = generator(1).integers(2 * base - 1, size=(2000, 4))
    pairs = sampling.pairs_of_sums(generator(0), base, sums)
    assert np.array_equal(pairs.sum(1), sums)
    assert 0 <= pairs.min() <= pairs.max() == base - 1
    middle = sampling.pairs_of_sums(generator(0), base, np.full((40_000, 1), base - 1))[:, 0, 0]  # where any first digit has its second
    assert np.bincount(middle) == pytest.approx([len(middle) / base] * base, rel=0.1)


@pytest.mark.parametrize("base", [2, 10, 16])
def test_every_sum_of_an_even_column_is_as_likely(base):
    digits, _ = sampling.draw(generator(0), replace(CONFIG, base=base, digits=[1, 4], padding="fixed"), 20_000, 4, even=1.0)
    sums = 2 * base - 1
    assert np.bincount(digits.sum(1, dtype=int).ravel()) == pytest.approx([80_000 / sums] * sums, rel=0.1)


def test_the_share_of_even_columns_is_that_of_training_alone():
    config = replace(CONFIG, digits=[1, 4], carry_share=0.0, carry_steps=0, padding="fixed", even_share=1.0)
    ids, _ = sampling.stream(config, 0, 20_000)(0)
    digits = np.stack((ids[:, 1:5], ids[:, 6:10]), 1)
    assert np.mean(digits.sum(1) == 18) == pytest.approx(1 / 19, abs=0.002)
    assert np.mean(sampling.problems(generator(0), config, 20_000, 4, held=True)[0].sum(1) == 18) < 0.01


def test_lengths_are_equally_often_and_numbers_uniform():
    digits, lengths = sampling.draw(generator(0), replace(CONFIG, padding="none"), 40_000, 4)
    assert np.bincount(lengths.ravel())[1:] == pytest.approx([20_000] * 4, rel=0.04)
    assert np.bincount(digits[lengths[:, 0] == 1, 0, 0]) == pytest.approx([1000] * 10, rel=0.2)  # of one digit, 0 too
    assert np.bincount(digits[lengths[:, 0] == 3, 0, 2], minlength=10)[0] == 0


@pytest.mark.parametrize("config", BOTH, ids=lambda config: config.padding)
def test_made_carries_carry_and_fade(config):
    digits, lengths = sampling.draw(generator(0), config, 4000, 4, 1.0)
    plain, _ = sampling.draw(generator(0), config, 4000, 4)
    chain, by_chance = longest_chain(digits, 10), longest_chain(plain, 10)
    assert (chain >= 1).all()
    assert (chain == 4).mean() > 0.08 > 20 * (by_chance == 4).mean()
    for row, length in zip(digits.reshape(-1, 4), lengths.ravel(), strict=True):
        assert len(digits_of(value_of(row.tolist(), 10), 10)) == length
    shares = [sampling.carry_share(config, step) for step in (0, 500, 1000, 5000)]
    assert shares == [0.3, 0.15, 0.0, 0.0]


@EXAMPLES
@given(a=st.integers(0, 9999), b=st.integers(0, 9999), zeros=st.integers(0, 5))
def test_a_pair_is_held_out_in_either_order_and_with_any_zeros(a, b, zeros):
    pair, _ = problem(CONFIG, a, b)
    other, _ = problem(CONFIG, b, a, width=4 + zeros)
    assert is_held_out(pair, 0.5) == is_held_out(other, 0.5)


def test_the_share_that_is_held_out_is_the_one_asked_for_and_grows_with_it():
    digits, _ = sampling.draw(generator(3), CONFIG, 50_000, 4)
    some, more = (is_held_out(digits, share) for share in (0.05, 0.2))
    assert some.mean() == pytest.approx(0.05, abs=0.004)
    assert more.mean() == pytest.approx(0.2, abs=0.008)
    assert (more | ~some).all()


def test_training_never_has_a_held_out_problem_and_the_other_sets_nothing_else(tmp_path):
    addition.generate(CONFIG, tmp_path)
    batch = addition.stream(CONFIG, 0, 300)
    stored = [(load(tmp_path, split, "values"), split != "train") for split in ("train", "validation", "test")]
    for ids, expected in [(batch(step)[0], False) for step in range(5)] + stored:
        assert (is_held_out(np.stack((ids[:, 1:5], ids[:, 6:10]), 1), CONFIG.heldout) == expected).all()


@pytest.mark.parametrize("config", BOTH, ids=lambda config: config.padding)
def test_a_batch_is_a_function_of_seed_and_step(config):
    one, two = addition.stream(config, 1, 50), addition.stream(config, 1, 50)
    two(3)
    for array, same in zip(one(7), two(7), strict=True):
        assert (array == same).all()
    assert one(8)[0].shape != one(7)[0].shape or (one(8)[0] != one(7)[0]).any()
    other = addition.stream(config, 2, 50)(7)[0]
    assert other.shape != one(7)[0].shape or (other != one(7)[0]).any()


def test_a_batch_padded_to_the_longest_has_one_width_and_all_come():
    config = replace(CONFIG, padding="longest", digits=[2, 6])
    widths = {addition.stream(config, 0, 20)(step)[0].shape[1] for step in range(60)}
    assert widths == {config.row_length(width) for width in range(2, 7)}


@pytest.mark.parametrize("config", [*BOTH, replace(CONFIG, tokens_per_pass="all"), replace(CONFIG, tokens_per_pass=3, operands=3)])
def test_stored_sets_become_token_rows(config, tmp_path):
    metrics = addition.generate(config, tmp_path / "raw")
    addition.tokenize(config, tmp_path / "raw", tmp_path / "tokens")
    header = read_json(tmp_path / "tokens/header.json")
    assert header["tokenizer"] == {"kind": "integers", "pad": 11, "addition": asdict(config)}
    assert header["targets"]
    assert parse(addition.Config, header["stream"], "header") == config
    lengths = {split: header["splits"][split]["row_length"] for split in ("train", "length2", "length6")}
    assert lengths["train"] <= config.row_length(4) == config.trained_length(None)
    if config.padding != "none":
        shortest = 4 if config.padding == "fixed" else 2
        assert lengths == {"train": config.row_length(4), "length2": config.row_length(shortest), "length6": config.row_length(6)}
    assert metrics["splits"]["test"]["sequences"] == 20
    assert load(tmp_path / "raw", "length6", "lengths").tolist() == [[6] * config.operands] * 5


def test_a_million_problems_are_drawn_and_written_in_two_seconds():
    batch = addition.stream(CONFIG, 0, 50_000)
    started = time.process_time()
    assert sum(len(batch(step)[0]) for step in range(20)) == 1_000_000
    assert time.process_time() - started < 3  # 1 s alone on a core; a busy one is slower


def test_plain_files_are_those_of_the_settings(tmp_path):
    settings_ = parse(sequences.Settings, {"sequences": 50, "high": 300, "operands": 3}, "settings")
    sequences.write(settings_, tmp_path / "a.txt")
    lines = (tmp_path / "a.txt").read_text().splitlines()
    assert len(lines) == 50
    for line in lines:
        *numbers, total = map(int, line.split("|"))
        assert len(numbers) == 3
        assert sum(numbers) == total
        assert max(numbers) <= 300
    sequences.write(replace(settings_, base=16, reverse=True, columns=";", rows="\n\n"), tmp_path / "b.txt")
    other = (tmp_path / "b.txt").read_text().split("\n\n")[:-1]
    assert [[int(word[::-1], 16) for word in line.split(";")] for line in other] == [[int(word) for word in line.split("|")] for line in lines]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"high": -1}, "high: 0..-1"),
        ({"columns": "1"}, "columns: '1' could be part"),
        ({"rows": "|"}, "rows: must differ"),
        ({"base": 1}, "base: 1 is none"),
        ({"sequences": 0}, "sequences: must"),
    ],
)
def test_settings_that_make_no_file_are_named(options, message):
    with pytest.raises(UserError, match=f"settings.{message}"):
        parse(sequences.Settings, options, "settings")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": 1}, "base: 1 is none"),
        ({"operands": 1}, "operands: 1 numbers"),
        ({"digits": [4, 1]}, "digits: .* no range"),
        ({"heldout": 0.0}, "heldout: 0.0 is no share"),
        ({"carry_share": 1.5}, "carry_share"),
        ({"carry_missed": -0.1}, "carry_missed"),
        ({"even_share": 2.0}, "even_share"),
        ({"even_share": 0.5, "operands": 3}, "even_share: 0.5 is for two operands"),
        ({"even_share": 0.5, "padding": "none"}, "even_share: 0.5 is for two operands"),
        ({"tokens_per_pass": 0}, "tokens_per_pass: 0"),
        ({"tokens_per_pass": 3, "order": "plain"}, "tokens_per_pass: .* give 1 to 2"),
        ({"tokens_per_pass": "all", "padding": "none"}, "tokens_per_pass: all needs padding"),
        ({"tokens_per_pass": "all", "operands": 4, "base": 2}, "tokens_per_pass: all needs an answer"),
        ({"proof": "exhaustive", "padding": "longest"}, "proof: exhaustive goes through all pairs"),
        ({"proof": "certificate", "digits": [1, 6]}, "proof: certificate goes through all pairs"),
    ],
)
def test_parameters_that_mean_nothing_are_named(options, message):
    with pytest.raises(UserError, match=rf"tasks\.a\.{message}"):
        parse(addition.Config, {**asdict(CONFIG), **options}, "tasks.a")


def test_a_task_without_problems_to_train_on_is_named():
    config = replace(CONFIG, base=2, digits=[1, 1], heldout=0.0001, padding="none")
    with pytest.raises(UserError, match=r"heldout: 0\.0001 leaves no problem to test"):
        sampling.problems(generator(0), config, 5, 1, held=True)
