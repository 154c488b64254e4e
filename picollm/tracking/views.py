"""What MLflow's pages show first of an experiment: the columns its runs are judged by, the best run on top, that metric's chart first.

MLflow keeps a view that somebody shares as a tag of the experiment, and opens it by the tag's name; so ours is one that we share.
"""

import json
from collections.abc import Sequence

from picollm.tracking.store import experiment_of, open_store

VIEW = "best"


def show_first(experiment: str, metrics: Sequence[str], parameters: Sequence[str]) -> None:
    """`metrics`: the first is what runs are sorted by, the lowest on top. `parameters`: those that tell the runs apart."""
    client = open_store()
    experiment_id = experiment_of(client, experiment)
    view = {
        "selectedColumns": [*(f"metrics.`{name}`" for name in metrics), *(f"params.`{name}`" for name in parameters)],
        "orderByKey": f"metrics.`{metrics[0]}`",
        "orderByAsc": True,
    }
    tags = {
        "mlflow.experiment.primaryMetric.name": metrics[0],
        f"mlflow.sharedViewState.{VIEW}": json.dumps(view),
        "mlflow.note.content": f"[Best runs first](#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW}), by {metrics[0]}",
    }
    known = client.get_experiment(experiment_id).tags
    for name, value in tags.items():
        if known.get(name) != value and not (name == "mlflow.note.content" and name in known):  # a note that somebody wrote stays
            client.set_experiment_tag(experiment_id, name, value)
