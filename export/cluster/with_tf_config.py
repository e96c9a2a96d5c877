"""Starts one worker of a training with TF_CONFIG, by what a Kubernetes JobSet tells its pods.

python export/cluster/with_tf_config.py python -m bct_keras.train --strategy=multiworker ...

The environment has JOBSET (the name of the JobSet), JOB (that of its job), WORKERS (how many) and
JOB_COMPLETION_INDEX (which of them this is).
"""

import json
import os
import sys
from collections.abc import Mapping

PORT = 2222


def tf_config(environment: Mapping[str, str]) -> str:
    """Returns TF_CONFIG: the addresses of all workers, and which of them this is."""
    jobset = environment["JOBSET"]
    addresses = []
    for index in range(int(environment["WORKERS"])):
        # Name of a pod of the first and only replica of the job, in the JobSet's own subdomain.
        host = f"{jobset}-{environment['JOB']}-0-{index}.{jobset}"
        addresses.append(f"{host}:{PORT}")
    index = int(environment["JOB_COMPLETION_INDEX"])
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


def main() -> None:
    """Becomes the program that the arguments name."""
    program = sys.argv[1:]
    if not program:
        sys.exit(
            "give the program to start, such as python -m bct_keras.train --strategy=multiworker"
        )
    os.environ["TF_CONFIG"] = tf_config(os.environ)
    os.execvp(program[0], program)


if __name__ == "__main__":
    main()
