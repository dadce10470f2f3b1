"""Validates TOML files by a JSON Schema: schema.py SCHEMA FILE... Prints one line for each file."""

import json
import sys
import tomllib

from jsonschema import Draft7Validator

schema = json.load(open(sys.argv[1], encoding="utf-8"))
Draft7Validator.check_schema(schema)
validator = Draft7Validator(schema)
for name in sys.argv[2:]:
    with open(name, "rb") as file:
        errors = [it.message for it in validator.iter_errors(tomllib.load(file))]
    print("valid" if not errors else "invalid: " + "; ".join(errors).replace("\n", " "))
