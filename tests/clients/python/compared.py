"""Gets credentials with alibabacloud_credentials, unmodified, as it is told.

Its first line says what it is. After that every line of standard input, `in-a-row N` or
`at-once N`, is answered with a line of JSON that has one entry a get: the AccessKey id that
came, or the error. An AccessKey id is an identifier; secrets are never printed."""

import argparse
import json
import os
import platform
import signal
import sys
import threading
from importlib.metadata import version

from alibabacloud_credentials.client import Client
from alibabacloud_credentials.models import Config

# A library that hangs ends the program, so that nobody waits for it without a bound.
PATIENCE_SECONDS = 60


def get(client):
    try:
        return {"key": client.get_credential().access_key_id}
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)}


def in_a_row(client, gets):
    return [get(client) for _ in range(gets)]


def at_once(client, gets):
    start = threading.Barrier(gets)
    got = []

    def wait_and_get():
        start.wait()
        got.append(get(client))

    threads = [threading.Thread(target=wait_and_get) for _ in range(gets)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


ORDERS = {"in-a-row": in_a_row, "at-once": at_once}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", required=True, help="its scheme may be http")
    parser.add_argument("--access-key-id", required=True)
    parser.add_argument("--role-arn", required=True)
    parser.add_argument("--duration", required=True, type=int, help="in seconds")
    arguments = parser.parse_args()
    signal.alarm(PATIENCE_SECONDS)
    client = Client(
        Config(
            type="ram_role_arn",
            access_key_id=arguments.access_key_id,
            access_key_secret=os.environ["STORY_ACCESS_KEY_SECRET"],
            role_arn=arguments.role_arn,
            role_session_name="comparison",
            role_session_expiration=arguments.duration,
            sts_endpoint=arguments.endpoint,
        )
    )
    said = {
        "library": f"alibabacloud_credentials {version('alibabacloud_credentials')}",
        "language": "Python",
        "runs_on": f"Python {platform.python_version()}",
    }
    print(json.dumps(said), flush=True)
    for line in sys.stdin:
        order, gets = line.split()
        print(json.dumps(ORDERS[order](client, int(gets))), flush=True)


if __name__ == "__main__":
    main()
