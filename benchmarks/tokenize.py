"""Tokenizing a corpus from its raw files to its token files, beside tiktoken's own `encode_ordinary_batch` on the same text, and peak memory.

The text is fables told for the occasion. Memory is the sum over the process and all below it, pages that they share
counted in each: more than what the machine gives.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks import timing
from picollm.core.parallel import cores
from picollm.tasks.text import Config, fables, raw, tokenize
from picollm.tasks.text.config import TokenizerConfig
from picollm.tasks.text.documents import Document
from picollm.tokenizers.gpt2 import Tokenizer

CONFIG = Config(kind="text", tokenizer=TokenizerConfig("gpt2"), source="anything", test=0.05)
TOLD = 5_000  # stories, told again and again with a number: an encoder remembers nothing
BATCH = 1 << 24  # characters that the peer is given at once
SPEED, MEMORY = 0.8, 1500  # of the peer's; MB


def texts(size: int) -> Iterator[str]:
    told = [story.text for story in fables.stories(0, 0, TOLD)]
    number = 0
    while size > 0:
        text = f"{number}. {told[number % TOLD]}"
        yield text
        size, number = size - len(text), number + 1


def write(folder: Path, size: int) -> None:
    for split, part in (("train", size), ("validation", 1000), ("test", 1000)):
        with raw.writing(folder / f"{split}.parquet", CONFIG) as file:
            for text in texts(part):
                file.add(Document(text, split))


def ours(folder: Path) -> float:
    """MB a second, from files to files."""
    began = time.perf_counter()
    metrics = tokenize(CONFIG, folder, folder / "tokens")
    return metrics["splits"]["train"]["bytes"] / 1e6 / (time.perf_counter() - began)


def peer(folder: Path) -> float:
    """MB a second of `encode_ordinary_batch` on as many threads as there are cores, of text that is in memory."""
    from pyarrow.parquet import ParquetFile

    encoding = Tokenizer.train([], None).encoding
    batch, size, characters, seconds = [], 0, 0, 0.0
    with ParquetFile(folder / "train.parquet") as file:
        for number in range(file.num_row_groups):
            batch += file.read_row_group(number, ["text"]).to_pydict()["text"]
            characters += raw.GROUP
            if characters >= BATCH or number == file.num_row_groups - 1:
                began = time.perf_counter()
                encoding.encode_ordinary_batch(batch, num_threads=cores())
                seconds += time.perf_counter() - began
                size += sum(len(text.encode()) for text in batch)
                batch, characters = [], 0
    return size / 1e6 / seconds


def measured(side: str, folder: Path) -> tuple[float, float]:
    """(MB a second, peak MB of the process tree) of one side, in a process of its own."""
    process = psutil.Popen([sys.executable, "-m", "benchmarks.tokenize", side, str(folder)], stdout=-1, text=True)
    peak = 0
    while process.poll() is None:
        try:
            peak = max(peak, sum(one.memory_info().rss for one in [process, *process.children(recursive=True)] if one.is_running()))
        except psutil.NoSuchProcess:  # ended in between
            continue
        time.sleep(0.05)
    return float(process.communicate()[0]), peak / 1e6


def main(quick: bool) -> None:
    sizes, rounds = ((16, 64), (3, 1)) if quick else ((100, 1000), (5, 1))
    for size, count in zip(sizes, rounds, strict=True):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder, size * 1_000_000)
            print(f"tokenizing {size} MB of text with gpt2 on {cores()} cores, {count} times in turn")
            rates: dict[str, list[float]] = {"peer": [], "ours": []}
            peaks: dict[str, float] = {}
            for _ in range(count):
                for side in rates:
                    rate, peaks[side] = measured(side, folder)
                    rates[side].append(rate)
            timing.report("encode_ordinary_batch, text in memory, MB a second", timing.median(rates["peer"]))
            timing.report("from raw files to token files, MB a second", timing.median(rates["ours"]))
            times, low, high = timing.ratio(rates, "ours", "peer")
            timing.report("ours against encode_ordinary_batch, times as fast", times, (low, high), bar=f">= {SPEED}", met=times >= SPEED)
            timing.report("encode_ordinary_batch, peak MB of all processes", peaks["peer"])
            timing.report("from raw files to token files, peak MB of all processes", peaks["ours"], bar=f"<= {MEMORY}", met=peaks["ours"] <= MEMORY)


if __name__ == "__main__":
    print({"ours": ours, "peer": peer}[sys.argv[1]](Path(sys.argv[2])))
