"""What MLflow's pages show first of an experiment: the columns its runs are judged by, the best run on top, that metric's chart first.

MLflow keeps views that somebody saves as tags of the experiment, so this is one that we save. A link in the experiment's note opens it.
"""

import json
from collections.abc import Sequence

from picollm.tracking.store import experiment_of, open_store

VIEW = "best"
NOTE = "mlflow.note.content"
FIXED = ("attributes.`Run Name`", "runDateAndNestInfo", "duration")  # columns that are always there
CONFIGURATIONS = "metrics.parameters > 0"  # the runs of all seeds together, and sweeps' cells: only they have this metric


def show_first(experiment: str, metrics: Sequence[str], parameters: Sequence[str]) -> None:
    """`metrics`: the first is what runs are sorted by, the lowest on top. `parameters`: those that tell the runs apart."""
    client = open_store()
    known = client.get_experiment(experiment_of(client, experiment))
    columns = [*(f"metrics.`{name}`" for name in metrics), *(f"params.`{name}`" for name in parameters)]
    state = {
        "searchFilter": CONFIGURATIONS,
        "orderByKey": f"metrics.`{metrics[0]}`",
        "orderByAsc": True,
        "selectedColumns": columns,
        "columnOrder": [*FIXED, *columns],
    }
    view = {"name": "Best runs first", "createdAt": known.creation_time, "updatedAt": known.creation_time, "state": json.dumps(state)}
    tags = {
        "mlflow.experiment.primaryMetric.name": metrics[0],
        f"mlflow.sharedViewState.{VIEW}": json.dumps(view),
        NOTE: known.tags.get(NOTE) or f"[Best runs first](#/experiments/{known.experiment_id}/runs?viewStateShareKey={VIEW})",  # what somebody wrote stays
    }
    for name, value in tags.items():
        if known.tags.get(name) != value:
            client.set_experiment_tag(known.experiment_id, name, value)
