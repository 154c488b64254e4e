"""The command line: `info` says what there is, `sample` asks a trained model to go on, `add` and `verify` an adder, `analyze` looks inside a model,
`compare` puts runs and revisions side by side, `export` and `import` trade with other libraries, `share` with the Hugging Face Hub, `numbers` writes
plain files of sums."""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.exceptions import TyperException

from picollm.commands._options import ModelSeed, RunName
from picollm.commands.info import info
from picollm.commands.sample import sample
from picollm.commands.serve import serve
from picollm.commands.share import share
from picollm.commands.status import status
from picollm.commands.study import study
from picollm.core.config import PARAMS, parse, read
from picollm.core.errors import UserError
from picollm.core.files import write_text
from picollm.loaded.folders import CHECKPOINTS, folder_of
from picollm.study import Study

app = typer.Typer(
    help="A study bench of tiny language models. `make study` trains them, these commands ask them.",
    no_args_is_help=True,
    add_completion=Path(sys.argv[0]).name == "picollm",  # a shell can complete no word of `python -m picollm`
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED = 130  # what typer makes of an interruption, without a word

for verb in (study, status, info, sample, serve, share):
    app.command()(verb)


@app.command()
def analyze(
    run: RunName,
    text: Annotated[str | None, typer.Option(help='what to show it; integers for a numeric run: "3 5 7", a sum for an adder: "1342+879"')] = None,
    file: Annotated[Path | None, typer.Option(help="the same, in a file")] = None,
    seq_type: Annotated[str | None, typer.Option(help="show it a stored test sequence of this family, such as arithmetic")] = None,
    length: Annotated[int | None, typer.Option(help="terms of that sequence; 12 if left out")] = None,
    layer: Annotated[int | None, typer.Option(help="only this layer, counted from 0")] = None,
    heads: Annotated[str | None, typer.Option(help="only these heads: 0,2")] = None,
    analysis: Annotated[list[str] | None, typer.Option(help="without a text: only this analysis; may be given several times")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="for figures and tables; analyze/RUN/seedN if left out")] = None,
    model_seed: ModelSeed = 0,
) -> None:
    """Look inside a trained model: where its heads look on one text, or without any text all that the analyses find.

    Example: python -m picollm analyze fables_transformer --text "Once upon a time" --layer 1
    """
    from picollm.analysis._options import Options
    from picollm.analysis._runner import DPI, text_report
    from picollm.explorer import subjects
    from picollm.explorer.one_text import OneText, stored_sequence
    from picollm.explorer.spelling import Spelling
    from picollm.report import figures
    from picollm.training.checkpoints import read_config

    shown = [name for name, value in (("text", text), ("file", file), ("seq-type", seq_type)) if value is not None]
    if len(shown) > 1:
        raise UserError(f"{shown[1]}: give either --{shown[0]} or --{shown[1]}, and not both")
    for name, given, needs in (
        ("length", length is not None, ["seq-type"]),
        ("layer", layer is not None, ["text", "file", "seq-type"]),
        ("heads", heads is not None, ["text", "file", "seq-type"]),
    ):
        if given and not {*needs} & {*shown}:
            raise UserError(f"{name}: belongs to --{', --'.join(needs)}; give that, or leave it out")
    if analysis and shown:
        raise UserError(f"analysis: looks at the task's own sequences; give either --analysis or --{shown[0]}")
    block = {**_interpret(), **({"analyses": analysis} if analysis else {}), **({"sequence_types": [seq_type], "length": length or 12} if seq_type else {})}
    checkpoint = folder_of(run, model_seed)
    subject, missing = subjects.subject_of(checkpoint, parse(Options, block, "analyze" if analysis or seq_type else "interpret"))
    out = out or "analyze" / (checkpoint.relative_to(CHECKPOINTS) if checkpoint.is_relative_to(CHECKPOINTS) else Path(*checkpoint.parts[-2:]))
    if not shown:
        report = text_report(run, subjects.analyses(subject, missing, out))
        write_text(out / "report.md", report)
        print(f"{report}\nfigures and tables: {out}")
    else:
        spelling = Spelling(read_config(checkpoint))
        written = text if file is None else _text_of(file)
        ids = stored_sequence(subject, seq_type, missing) if seq_type else spelling.read(written or "", shown[0])
        one = OneText(subject, spelling, ids, layer, _numbers(heads), shown[0])
        print(one.report())
        if figure := one.figure():
            figures.save(figure, out / "head_maps.png", dpi=DPI)
            print(f"maps: {out / 'head_maps.png'}")


@app.command()
def export(
    run: RunName,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a new folder")],
    to: Annotated[Literal["hf"], typer.Option(help="whose form: Hugging Face transformers")] = "hf",
    model_seed: ModelSeed = 0,
) -> None:
    """Write a trained model as transformers reads it, where that has such a model.

    Example: python -m picollm export fables_transformer --to hf exported
    """
    from picollm import exchange

    notes = exchange.export(folder_of(run, model_seed), folder)
    print("\n".join([f"AutoModelForCausalLM.from_pretrained({str(folder)!r}) loads it", *(f"note: {note}" for note in notes)]))


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="a model of transformers: config.json and *.safetensors")],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="a new checkpoint folder")],
) -> None:
    """Make a checkpoint of ours of a GPT-2, Llama, GPT-NeoX or gpt-oss (of one expert).

    Example: python -m picollm import gpt2 data/imported/gpt2
    """
    from picollm import exchange

    notes = exchange.import_(source, folder)
    print("\n".join([f"{folder} is a checkpoint: python -m picollm sample {folder} --prompt ...", *(f"note: {note}" for note in notes)]))


@app.command(context_settings={"ignore_unknown_options": True})  # -5 is then a number that is refused as one
def add(
    run: RunName,
    numbers: Annotated[list[str] | None, typer.Argument(metavar="NUMBER...", help="what to add")] = None,
    base: Annotated[int, typer.Option(help="that the numbers are written in")] = 10,
    model_seed: ModelSeed = 0,
) -> None:
    """Let a trained adder add, token by token.

    Example: python -m picollm add adder 1342 879
    """
    from picollm.evaluation._addition import adder
    from picollm.tasks.addition.bases import digits_of, value_of, write

    model, task = adder.load(folder_of(run, model_seed))
    operands = adder.operands(task, numbers or [], base)
    if measured := adder.beyond(model, task, operands):
        rate = f"{measured['successes']:g} of {measured['n']:g} random sums of that length are right"
        print(f"warning: trained on at most {task.digits[1]} digits of base {task.base}; {rate}", file=sys.stderr)
    answer = adder.answer(model, task, operands)
    value = value_of(answer.digits, task.base)
    shown = {shown: write(digits_of(value, shown), shown) for shown in dict.fromkeys((base, task.base, 10))}
    written = ", ".join(f"{text} in base {number}" for number, text in shown.items())
    print(f"{' + '.join(numbers or [])} = {shown[base]}{'' if answer.right else '  (wrong)'}")
    print(f"{written}\ntokens {answer.tokens}\nconfidence {answer.confidence:.6f}, {answer.passes} passes")


@app.command()
def verify(
    run: RunName,
    proof: Annotated[Literal["auto", "certificate", "exhaustive", "strata"], typer.Option(help="auto: the strongest that the model allows quickly")] = "auto",
    processes: Annotated[int, typer.Option(min=1, help="that share the work")] = 2,
    failures: Annotated[Path | None, typer.Option(metavar="FILE", help="where to list failing pairs, up to a thousand")] = None,
    model_seed: ModelSeed = 0,
) -> None:
    """Prove from its checkpoint alone that an adder makes no error, and print what the proof depends on. Stopped, it goes on when it is called again.

    Example: python -m picollm verify adder --proof exhaustive
    """
    from picollm.core.files import write_csv
    from picollm.evaluation._addition import manifest

    checkpoint = folder_of(run, model_seed)
    found = manifest.verify(checkpoint, proof, processes, Path(".resume") / f"verify-{checkpoint.parent.name}-{checkpoint.name}-{proof}.json")
    listed = found.pop("listed")
    if failures:
        write_csv(failures, ["a", "b", "said"], [dict(zip(("a", "b", "said"), row, strict=True)) for row in listed])
    for name, value in found.items():
        print(f"{name:<14} {value:,}" if isinstance(value, int) else f"{name:<14} {value}")
    if not found["holds"]:
        first = ", ".join(f"{a} + {b}" for a, b, _ in listed[:3])
        raise UserError(
            f"{run}: the proof does not hold: {found['failures']:,} failures{f' such as {first}' if first else ''}; train it longer (training.steps)"
        )


@app.command()
def numbers(
    settings: Annotated[Path, typer.Argument(metavar="SETTINGS.yaml", help="low, high, sequences, operands, base, columns, rows, ...; all may be left out")],
    out: Annotated[Path, typer.Argument(metavar="FILE", help="what to write")],
) -> None:
    """Write a plain file of sums, `1342|879|2221` a line, for a task of kind text.

    Example: python -m picollm numbers data_config.yaml data/corpora/sums.txt
    """
    from picollm.tasks.addition import sequences

    sequences.write(parse(sequences.Settings, read(settings), str(settings)), out)
    print(f"{out} is a text: source: {out} in a task of kind text reads it")


@app.command()
def compare(
    what: Annotated[list[str] | None, typer.Argument(metavar="WHAT", help="runs, revisions, REVISION:RUN, experiments, MLflow runs, checkpoints")] = None,
    md: Annotated[bool, typer.Option("--md", help="as Markdown")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON, with all metrics")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="also as a page with the curves over one another")] = None,
    fail_if: Annotated[list[str] | None, typer.Option(metavar="CONDITION", help="exit with 1 then; may be given several times")] = None,
) -> None:
    """Put runs side by side: metrics with intervals, their differences, the parameters that differ. Without WHAT: the workspace against HEAD.

    Example: python -m picollm compare main --fail-if 'fables_transformer.bits_per_byte worse than main by 1%'
    """
    from picollm.comparing import command

    raise typer.Exit(command.run(what or [], "json" if as_json else "markdown" if md else "text", html, fail_if or []))


def main() -> None:
    """The command line with all errors in one line, typer's own too."""
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(code)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except TyperException as error:
        if not error.format_message():  # a command without arguments has shown its help
            sys.exit(2)
        raise UserError(f"{error.format_message().rstrip('.')}; see python -m picollm --help") from error


def _interpret() -> dict[str, Any]:
    """The block of params.yaml that analyses read, where there is such a file: a checkpoint may be looked into anywhere."""
    return Study(read()).params["interpret"] if PARAMS.exists() else {}


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").removesuffix("\n")
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); name a text file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: is not UTF-8 at byte {error.start}; convert it (iconv -t UTF-8)") from error


def _numbers(heads: str | None) -> list[int]:
    """Of "0,2"."""
    words = [word.strip() for word in heads.split(",")] if heads is not None else []
    wrong = next((word for word in words if not word.isdecimal()), None)
    if wrong is not None:
        raise UserError(f"heads: {wrong!r} is no number of a head; write them like 0,2")
    return [int(word) for word in words]
