"""For all tests: two of them at once on two cores (`make test`), so one thread each."""

import os

import torch


def pytest_configure():
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start
