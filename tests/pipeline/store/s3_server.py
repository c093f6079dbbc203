"""An S3 service on loopback for tests: prints its port, ends when its standard input does.

moto looks for the object and writes it in two steps, on a thread for each request, so two conditional puts of one
name can both pass (7 of 300 rounds of 8 writers had not exactly one winner at a thread switch interval of 1 µs).
S3 promises one winner, so puts are let through one at a time here.
"""

import logging
import sys
import threading
from typing import Any

from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from moto.s3.responses import S3Response


def one_at_a_time(put: Any) -> Any:
    lock = threading.Lock()

    def guarded(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return put(*args, **kwargs)

    return guarded


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    S3Response.put_object = one_at_a_time(S3Response.put_object)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    sys.stdin.read()
    server.stop()
