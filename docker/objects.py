"""What the profile s3 of compose.yaml needs beside its server: keys that nobody chose, and the bucket of the store."""

import json
import os
import secrets
import sys
import time
from pathlib import Path

FOLDER = Path("/credentials")
PATIENCE = 120.0


def make_keys() -> None:
    """Write the keys once: s3.json for the server, then `credentials` for runs."""
    credentials = FOLDER / "credentials"
    if credentials.exists():
        return
    key, secret = secrets.token_hex(10), secrets.token_hex(20)
    identity = {"name": "puriflow", "credentials": [{"accessKey": key, "secretKey": secret}], "actions": ["Admin"]}
    (FOLDER / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")
    half = FOLDER / "credentials.half"
    half.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n", encoding="utf-8")
    half.rename(credentials)


def make_bucket(store: str) -> None:
    """Make the store's bucket where it is not there, once the server answers."""
    import s3fs

    scheme, _, place = store.partition("://")
    if scheme != "s3":
        sys.exit(f"PURIFLOW_STORE is {store}: with the profile s3 name a bucket, such as s3://puriflow/store.")
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            s3fs.S3FileSystem(skip_instance_cache=True).makedirs(place.partition("/")[0], exist_ok=True)
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"the bucket of {store} could not be made: {error}")
            time.sleep(2)
        else:
            return


if __name__ == "__main__":
    if sys.argv[1] == "keys":
        make_keys()
    else:
        make_bucket(os.environ["PURIFLOW_STORE"])
