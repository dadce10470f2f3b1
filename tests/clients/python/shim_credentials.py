"""What the stories share: credentials from `sts-shim`, as a program takes them that has
nothing else, and failures told without secrets."""

import json
import os
import shlex
import subprocess
import sys

# What the SDKs and their tools look for, of any generation.
LONG_LIVED = (
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABACLOUD_ACCESS_KEY_ID",
    "ALIBABACLOUD_ACCESS_KEY_SECRET",
    "ALICLOUD_ACCESS_KEY",
    "ALICLOUD_SECRET_KEY",
    "ALIYUN_ACCESS_KEY_ID",
    "ALIYUN_ACCESS_KEY_SECRET",
    "OSS_ACCESS_KEY_ID",
    "OSS_ACCESS_KEY_SECRET",
)


class Failure(Exception):
    """The story went wrong, in words that are safe to print."""


def require(truth, otherwise):
    """`assert`, which `python -O` cannot remove."""
    if not truth:
        raise Failure(otherwise)


def hold_no_key():
    """A story proves nothing when the program has a key of its own."""
    held = [name for name in LONG_LIVED if name in os.environ]
    require(not held, f"this story must not find {held} in its environment")


def document(shim):
    """Runs the shim and returns its document."""
    output = subprocess.run(shlex.split(shim), stdout=subprocess.PIPE)
    require(output.returncode == 0, f"the shim ended with status {output.returncode}")
    return json.loads(output.stdout)


def told(error):
    """Names an error. oss2 prints an error with all the service said, and to a wrong
    signature OSS answers with the string to sign, which holds the session token."""
    kind = type(error).__name__
    if hasattr(error, "details"):
        return f"{kind}: {error.status} {error.code} {error.ec} {error.message}"
    return f"{kind}: {error}"


def run(story):
    """Prints what the story returns as one line of JSON, or fails with its error."""
    try:
        print(json.dumps(story()))
    except Exception as error:
        sys.exit(told(error))
