"""`make ship`: a few small trained models into data/shipped, which git holds, so that a fresh clone has something to ask before anything was trained."""

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from picollm.core.errors import UserError, exit_on_user_error
from picollm.core.files import read_json, write_json
from picollm.loaded.folders import CHECKPOINTS, SHIPPED
from picollm.training.checkpoints import save_tensors

# Half the size, and a loss that is the same to four digits; but for the adder, whose proof is one of its very weights.
RUNS = {"adder": torch.float32, "classic_softmax": torch.float16, "classic_linear": torch.float16, "fables_transformer": torch.float16}


def main() -> None:
    for run in RUNS:
        if not (CHECKPOINTS / run / "run.json").exists():
            raise UserError(f"{run}: is not trained here; run `dvc repro train@{run}` or make study, then make ship again")
    shutil.rmtree(SHIPPED, ignore_errors=True)
    for run, dtype in RUNS.items():
        source = CHECKPOINTS / run
        seed = min(read_json(source / "run.json")["seeds"], key=int)
        model, target = source / f"seed{seed}", SHIPPED / run / f"seed{seed}"
        config = read_json(model / "config.json")
        write_json(target / "config.json", config)
        save_tensors(target / "model.safetensors", {name: value.to(dtype) for name, value in load_file(model / "model.safetensors").items()})
        write_json(SHIPPED / run / "run.json", {**read_json(source / "run.json"), "seeds": [int(seed)]})
        facts = Path("data/raw") / config["task"] / "facts.json"
        if facts.exists():
            write_json(SHIPPED / "facts" / f"{config['task']}.json", read_json(facts))
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    print(f"{SHIPPED}: {', '.join(RUNS)}, {size / 1e6:.1f} MB; git add {SHIPPED}")


if __name__ == "__main__":
    exit_on_user_error(main)
