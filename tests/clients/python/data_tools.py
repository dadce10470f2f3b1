"""Writes an object and reads it with a data tool, unmodified, as often as it is told. The tool is set
up by the text that `stsctl setup` prints, with the emulator as its proxy.

Every line of standard input is a number of calls; each line of the answer is JSON: `{"calls":
N}`, or `{"error": …}` with the first that failed. Secrets are never printed."""

import argparse
import ast
import json
import os
import signal
import sys
from importlib.metadata import files

from shim_credentials import hold_no_key, require, told

# A library that hangs ends the program, so that no story waits for it without a bound.
PATIENCE_SECONDS = 900
PLACE = "examplebucket/tools"


def s3fs():
    """s3fs, which takes the profile of ~/.aws/config."""
    import s3fs

    bucket = s3fs.S3FileSystem(profile="oss-upload")

    def call(text):
        bucket.pipe_file(f"{PLACE}/s3fs", text.encode())
        return bucket.cat_file(f"{PLACE}/s3fs").decode()

    return call


def duckdb():
    """DuckDB with its two extensions, which takes the command of the profile."""
    import duckdb

    session = duckdb.connect()
    for name in ("httpfs", "aws"):
        package = files(f"duckdb-extension-{name}")
        path = next(it for it in package if it.suffix == ".duckdb_extension")
        session.execute(f"LOAD '{path.locate()}'")
    # It reads no HTTP_PROXY.
    session.execute(f"SET http_proxy = '{os.environ['HTTP_PROXY']}'")
    session.execute(os.environ["STORY_SNIPPET"])

    def read(name):
        return session.execute(f"SELECT text FROM 's3://{PLACE}/{name}.parquet'").fetchone()[0]

    def write(name, text):
        session.execute(f"COPY (SELECT '{text}' AS text) TO 's3://{PLACE}/{name}.parquet'")

    write("first", "text")
    anew = os.environ["STORY_SNIPPET"].replace("CREATE SECRET", "CREATE OR REPLACE SECRET")

    def call(text):
        # A refused read renews the secret by itself. A refused write does not, and deletes the object.
        require(read("first") == "text", "another object")
        try:
            write("duckdb", text)
        except duckdb.HTTPException:
            session.execute(anew)
            write("duckdb", text)
        return read("duckdb")

    return call


def polars():
    """Polars, by the URL."""
    import polars

    snippet = os.environ["STORY_SNIPPET"]
    keywords = (
        keyword
        for node in ast.walk(ast.parse(snippet))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
    )
    options = next(ast.literal_eval(it.value) for it in keywords if it.arg == "storage_options")

    def call(text):
        frame = polars.DataFrame({"text": [text]})
        frame.write_parquet("s3://examplebucket/polars.parquet", storage_options=options)
        found = {}
        exec(snippet, found)
        return found["frame"].collect()["text"][0]

    return call


TOOLS = {"s3fs": s3fs, "duckdb": duckdb, "polars": polars}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool", choices=TOOLS)
    arguments = parser.parse_args()
    signal.alarm(PATIENCE_SECONDS)
    hold_no_key()
    call = None
    done = 0
    for line in sys.stdin:
        try:
            for _ in range(int(line)):
                call = call or TOOLS[arguments.tool]()
                done += 1
                text = f"line {done}"
                found = call(text)
                require(found == text, f"{found!r} came back, not {text!r}")
            answer = {"calls": int(line)}
        except Exception as error:
            answer = {"error": told(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
