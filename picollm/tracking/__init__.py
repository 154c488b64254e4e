"""Runs in MLflow: the one package that knows it."""

import logging
import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from picollm.tracking.asked import Curves, newest, stored
from picollm.tracking.champions import register
from picollm.tracking.runs import Run, child, comparison, find, run
from picollm.tracking.store import mend, root, store_uri
from picollm.tracking.views import show_first

__all__ = ["Curves", "Run", "child", "comparison", "find", "mend", "newest", "register", "root", "run", "show_first", "store_uri", "stored"]

logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow").setLevel(logging.WARNING)
