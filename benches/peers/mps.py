"""Limits programs to some of a GPU's SMs: an MPS server of their own, which they find by their environment."""

import contextlib
import math
import os
import subprocess
import tempfile

CONTROL = "nvidia-cuda-mps-control"


class MpsError(Exception):
    """No MPS server can be had."""


def percentage(sm_count, device_sm_count):
    """The least share, in tenths of a percent, that is not below the SMs wanted."""
    return math.ceil(1000 * sm_count / device_sm_count) / 10


@contextlib.contextmanager
def limited(sm_count, device_sm_count):
    """Environment of programs that get `sm_count` SMs; empty, and no server, where that is all."""
    if sm_count == device_sm_count:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="mps-", ignore_cleanup_errors=True) as folder:
        place = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}

        def control(*arguments, commands=None):
            # Its daemon keeps the outputs that it is started with: no pipe, which would never end.
            try:
                return subprocess.run([CONTROL, *arguments], input=commands, text=True, env=dict(os.environ, **place),
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
            except OSError as error:
                raise MpsError(f"{CONTROL}: {error.strerror}") from error

        if control("-d") != 0:
            raise MpsError(f"{CONTROL} -d failed: llama.cpp cannot be limited to {sm_count} SMs")
        try:
            yield {**place, "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(percentage(sm_count, device_sm_count))}
        finally:
            control(commands="quit\n")
