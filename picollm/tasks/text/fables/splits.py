"""Which stories a split has: training, validation and test know nothing of what is held out; two more sets are about nothing else."""

from collections.abc import Iterator
from itertools import count as from_
from itertools import islice

from picollm.tasks.text.fables.generate import BLOCK, Story, stories
from picollm.tasks.text.fables.grammar import fables


def told(split: str, seed: int, start: int, count: int) -> Iterator[Story]:
    """`count` stories of a split, the first of this seed from number `start` on.

    A held-out set has those stories of the full grammar that use what its name says, and nothing of the other kind; their bits are those of the
    full grammar, under which they are as likely as they are, and not those of a grammar that tells nothing else.
    """
    kind = split.partition("heldout_")[2]
    if not kind:
        yield from stories(seed, start, count, fables(restricted=True))
        return
    every = (story for block in from_() for story in stories(seed, start + block * BLOCK, BLOCK, fables()))
    yield from islice((story for story in every if story.heldout == (kind,)), count)
