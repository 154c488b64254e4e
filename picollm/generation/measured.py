"""Many texts of a model under every setting, measured beside texts of the corpus: docs/sampling.md says what each measure can tell.

Whole documents are told from their start. In the one endless document of a single file there is none: there a text goes
on after a few tokens of the test split, and the corpus's own is what really follows them.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import fsum
from typing import Any

import numpy as np

from picollm.core import statistics
from picollm.core.tokens import TokenFolder
from picollm.generation.copies import Copies, copies
from picollm.generation.generate import Continuation, generate
from picollm.generation.judge import judge
from picollm.generation.measures import distinct, repetition, self_bleu
from picollm.generation.samples import CORPUS, Samples, room
from picollm.models import Model
from picollm.tokenizers._shared import Base, from_json

CONTEXT = 16  # tokens that a text goes on from where documents have no start
COPIED = (4, 8, 16)

Row = dict[str, Any]


def measure_all(model: Model, tokens: TokenFolder, samples: Samples) -> list[Row]:
    """[{"setting", measures ...}], of every setting and last of the corpus; a measure is None where it is not defined.

    What is not the corpus's is generated with the seeds samples.seed, samples.seed + 1, ...: the same for every setting.
    """
    if not samples.texts:
        return []
    coder = from_json(tokens.header["tokenizer"])
    prompts, real = _corpus(tokens, coder.end, samples)
    length = room(model, len(prompts[0]), samples.text_length)
    stop = [coder.end] if tokens.header["splits"]["train"]["whole"] else []
    groups: dict[str, list[Continuation]] = {}
    for name, setting in samples.settings.items():
        alike = setting.temperature == 0 and prompts.count(prompts[0]) == len(prompts)  # then all texts are one
        once = prompts[:1] if alike else prompts
        groups[name] = generate(model, once, length, setting, range(samples.seed, samples.seed + len(once)), stop) * (len(prompts) // len(once))
    groups[CORPUS] = [Continuation(ids[:length], [], len(ids) <= length) for ids in real]
    known = tokens.header["splits"]["train"]["bits"] is not None  # the grammar of the corpus
    copied = copies([one.ids for group in groups.values() for one in group], tokens.split("train"))
    rows, begin = [], 0
    for name, group in groups.items():
        own = copied.of(begin, begin + len(group))
        begin += len(group)
        rows.append({"setting": name, **_measures(group), **_copied(own), **(_judged(group, coder) if known else {})})
    return rows


def summaries(seeds: dict[int, list[Row]]) -> dict[str, dict[str, statistics.Summary]]:
    """{setting: {measure: mean and interval over the models of all seeds}}, of what all of them have."""
    result: dict[str, dict[str, statistics.Summary]] = {}
    for rows in zip(*seeds.values(), strict=True):
        own = {name: [row[name] for row in rows] for name in rows[0] if name != "setting"}
        result[rows[0]["setting"]] = {name: statistics.summary(values) for name, values in own.items() if None not in values}
    return result


def _corpus(tokens: TokenFolder, end: int, samples: Samples) -> tuple[list[list[int]], list[list[int]]]:
    """What the texts go on from, and the corpus's own texts: of the test split, of validation where there is none."""
    split = "test" if "test" in tokens.header["splits"] else "validation"
    stream = tokens.split(split)
    if tokens.header["splits"][split]["whole"]:
        ends = np.flatnonzero(stream == end)[: samples.texts + 1]
        return [[end]] * samples.texts, [stream[a + 1 : b].tolist() for a, b in pairwise(ends)]
    context = min(CONTEXT, len(stream))
    starts = np.linspace(0, max(0, len(stream) - context - samples.text_length), samples.texts).astype(np.int64)
    return [stream[at : at + context].tolist() for at in starts], [stream[at + context : at + context + samples.text_length].tolist() for at in starts]


def _measures(group: Sequence[Continuation]) -> Row:
    texts, nats = [one.ids for one in group], [cost for one in group for cost in one.nats]
    return {
        "tokens": fsum(map(len, texts)) / len(texts),
        "log_probability": -fsum(nats) / len(nats) if nats else None,
        **{f"distinct_{n}": distinct(texts, n) for n in (1, 2, 3)},
        "repetition": repetition(texts),
        "self_bleu": self_bleu(texts),
        "different": len(set(map(tuple, texts))) / len(texts),
    }


def _copied(own: Copies) -> Row:
    longest = own.longest()
    return {"longest_copy": fsum(longest) / len(longest), "longest_copy_of_all": max(longest), **{f"copied_{n}": own.share(n) for n in COPIED}}


def _judged(group: Sequence[Continuation], coder: Base) -> Row:
    """A text that did not come to its end is no story, however well it began."""
    texts = [coder.decode(one.ids) for one in group]
    verdicts = [judge(text) for text in texts]
    stories = [(verdict.bits, len(text.encode())) for one, text, verdict in zip(group, texts, verdicts, strict=True) if one.stopped and verdict.bits]
    others = [verdict.read for one, verdict in zip(group, verdicts, strict=True) if not (one.stopped and verdict.bits)]
    return {
        "accepted": len(stories) / len(group),
        "grammar_bits_per_byte": fsum(bits for bits, _ in stories) / sum(size for _, size in stories) if stories else None,
        "read": fsum(others) / len(others) if others else None,
    }
