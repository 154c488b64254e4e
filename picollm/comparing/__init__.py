"""Experiments side by side: runs, revisions, DVC's experiments, MLflow's runs and checkpoints (`python -m picollm compare`)."""
