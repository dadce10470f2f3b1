"""Credentials from `sts-shim`, as a program would take them that has nothing else."""

import json
import os
import shlex
import subprocess

LONG_LIVED = (
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIYUN_ACCESS_KEY_ID",
    "OSS_ACCESS_KEY_ID",
    "OSS_ACCESS_KEY_SECRET",
)


def hold_no_key():
    """A story proves nothing when the program has a key of its own."""
    held = [name for name in LONG_LIVED if name in os.environ]
    assert not held, f"this story must not find {held} in its environment"


def document(shim):
    """Runs the shim and returns its document."""
    output = subprocess.run(shlex.split(shim), stdout=subprocess.PIPE, check=True)
    return json.loads(output.stdout)
