"""The model card of a checkpoint: what it was trained on and how, what was measured of it beside floor and interval, what is proved, and limits.

All numbers are read from what the stages left for the run. Where that belongs to another training than the checkpoint's, which the
fingerprint tells, or is not there, the card says so and claims nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from picollm import __version__
from picollm.core import registry
from picollm.core.files import read_record
from picollm.core.tokens import open_tokens
from picollm.models import Model
from picollm.report.collect import flat
from picollm.report.writing import number, plain, title

MEASURED = {  # in the order of the table: measures, and which one is the floor of some
    "exact": "",
    "strata_exact": "",
    "test_loss": "floor",
    "excess": "",
    "test_accuracy": "",
    "bits_per_byte": "floor_bits_per_byte",
    "excess_bits_per_byte": "",
    "accuracy": "",
    "pairs_accuracy": "",
}
LICENSE = "mit"
TEMPLATE = "---\n{{ card_data }}\n---\n\n{{ text }}\n"
USE = """```python
from picollm.hub import SharedModel

model = SharedModel.from_pretrained("USER/NAME")  # or the folder
logits = model(ids)
```"""


@dataclass(frozen=True)
class Known:
    """All that the card is written from."""

    facts: dict[str, Any]  # of the checkpoint's config.json
    train: dict[str, Any]  # metrics of this very training; empty where there are none
    evaluation: dict[str, Any]
    root: Path  # the folder with metrics/, data/ and dvc.lock

    @property
    def kind(self) -> str:
        return str(self.facts.get("kind", "unknown"))

    @property
    def own(self) -> dict[str, Any]:
        """What was measured of this very model, not of the run's other seeds."""
        own: dict[str, Any] = self.evaluation.get("seeds", {}).get(str(self.facts.get("seed")), {})
        return own


def of(model: Model, facts: dict[str, Any], root: Path) -> ModelCard:
    known = _known(facts, root)
    name, task = (f"{facts.get('run', 'model')}, seed {facts.get('seed', 'unknown')}", str(facts.get("task", "unknown")))
    study = f"trained on the task `{task}` with picollm {__version__}, a study bench of tiny language models whose best possible loss is known."
    sections = {
        "Data": _data(known),
        "Recipe": _recipe(known),
        "Results": _results(known),
        **({"Proof": [_proof(known.own.get("proof"))]} if known.kind == "addition" else {}),
        "Limits": ["\n".join(f"- {limit}" for limit in _limits(known))],
        "Use": [USE, f"The folder is a checkpoint: `picollm.load(folder)`, or `python -m picollm {_command(known.kind)}`."],
    }
    text = [f"# {name}", f"A {model.config.kind} of {model.n_parameters:,} parameters, {study}"]
    for heading, paragraphs in sections.items():
        text += [f"## {heading}", *paragraphs]
    data = ModelCardData(license=LICENSE, library_name="picollm", tags=["picollm", known.kind, model.config.kind])
    if known.kind == "text":
        data.pipeline_tag = "text-generation"
    if found := _eval_results(known, task):
        data.model_name, data.eval_results = name, found
    return ModelCard.from_template(data, template_str=TEMPLATE, text="\n\n".join(text))


def _known(facts: dict[str, Any], root: Path) -> Known:
    paths = [root / "metrics" / stage / f"{facts.get('run')}.json" for stage in ("train", "evaluate")]
    train, evaluation = map(read_record, paths)
    same = "fingerprint" in facts and train.get("fingerprints", {}).get(str(facts.get("seed"))) == facts["fingerprint"]
    return Known(facts, train if same else {}, evaluation if same else {}, root)


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def _settings(block: dict[str, Any]) -> str:
    return _table(["parameter", "value"], [[f"`{name}`", plain(value)] for name, value in flat(block).items() if value is not None])


def _data(known: Known) -> list[str]:
    folder = known.root / "data" / "tokens" / str(known.facts.get("task"))
    there = (folder / "header.json").exists()
    digest = f"SHA-256 of its tokens: `{open_tokens(folder).digest}`." if there else "Its tokens are not at hand, so no hash of them."
    tokenizer = {key: value for key, value in known.facts.get("tokenizer", {}).items() if key == "addition" or not isinstance(value, list | dict)}
    return [f"A task of kind {known.kind}. {digest}", *([_settings({"tokenizer": tokenizer})] if tokenizer else [])]


def _recipe(known: Known) -> list[str]:
    facts, train = known.facts, known.train
    settings = _settings({part: facts[part] for part in ("model", "training") if part in facts})
    if not train:
        return [settings, "How long it was trained is not at hand: there are no metrics of this very training."]
    numbers = f"{train['steps']:,} steps, {train['tokens']:,} tokens, budget `{train['budget']}`."
    return [settings, f"{numbers} Fingerprint of parameters, data and code: `{facts['fingerprint']}`."]


def _results(known: Known) -> list[str]:
    summary = known.evaluation.get("summary", {})
    if not known.own or not summary:
        return ["Not measured, or not of this very training."]
    own = registry.load("evaluation", known.evaluation["kind"], "kind").summaries({0: known.own})
    rows = []
    for name, floor in MEASURED.items():
        if name in summary and name in own:
            value = summary[name]
            interval = f"[{number(value['low'])}, {number(value['high'])}]" if "low" in value else "none of one seed"
            least = number(summary[floor]["mean"]) if floor in summary else ""
            rows.append([_title(name), number(own[name]["mean"]), number(value["mean"]), interval, str(value["n"]), least])
    table = _table(["measure", "this model", "mean over seeds", "95 % interval (t)", "seeds", "exact floor"], rows)
    exact = known.own.get("test", {}).get("exact")
    if not exact:
        return [table]
    rate = f"{exact['successes']:,} of {exact['n']:,} held-out sums are right"
    return [table, f"Of this model's, {rate}: a rate in [{number(exact['low'])}, {number(exact['high'])}] (95 %, Clopper-Pearson)."]


def _title(name: str) -> str:
    return title(name).removesuffix(", %")


def _proof(proof: dict[str, Any] | None) -> str:
    if not proof:
        return "None: all pairs were not gone through, so the rates above are all that is known."
    if "skipped" in proof:
        return f"None: {proof['skipped']}."
    margin = f"smallest margin of a right token {number(proof['margin'])} logits, " if "margin" in proof else ""
    verdict = "It holds." if proof["holds"] else "**It does not hold**: this model makes errors, or comes too close to one."
    return (
        f"{proof['kind'].capitalize()}: {proof['cases']:,} cases that decide all {proof['pairs']:,} ordered pairs, {proof['failures']:,} failures, "
        f"{margin}rounding {number(proof['rounding'], 2)}. {verdict} `python -m picollm verify FOLDER` goes through them again."
    )


def _limits(known: Known) -> list[str]:
    limits = ["It knows nothing but its task: no language beyond it, no facts, no instructions."]
    task = known.facts.get("tokenizer", {}).get("addition")
    if task:
        most = task["digits"][1]
        limits.append(f"Trained on {task['operands']} numbers of {task['digits'][0]} to {most} digits of base {task['base']}.")
        lengths = {int(length): entry["exact"] for length, entry in known.own.get("lengths", {}).items() if "exact" in entry}
        beyond = {length: rate for length, rate in sorted(lengths.items()) if length > most}
        limits += [f"Numbers of {length} digits: {rate['successes']:,} of {rate['n']:,} sums right." for length, rate in beyond.items()]
        limits += [] if beyond else ["Longer numbers were not measured."]
    elif known.facts.get("context"):
        limits.append(f"Trained on sequences of up to {known.facts['context']} tokens; longer ones are another matter.")
    return limits


def _command(kind: str) -> str:
    return "add FOLDER 1342 879" if kind == "addition" else 'sample FOLDER --prompt "..."'


def _eval_results(known: Known, task: str) -> list[EvalResult]:
    """Means over seeds, for the Hub's own tables."""
    summary, kind = known.evaluation.get("summary", {}), "text-generation" if known.kind == "text" else known.kind
    return [EvalResult(kind, f"picollm/{task}", task, name, summary[name]["mean"], metric_name=_title(name)) for name in MEASURED if name in summary]
