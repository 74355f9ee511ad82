"""``python -m tools.local_cloud``: ``demo`` shows the API at work, ``up`` keeps it running until Ctrl-C."""

import argparse
import json
import shlex
import signal
import sys
from dataclasses import asdict
from os.path import relpath
from types import FrameType

from botocore.exceptions import BotoCoreError, ClientError

from tools.example_requests import CUSTOMER, INSERT_MANY_FILE, INSERT_ONE_FILE
from tools.local_cloud.cloud import MINISTACK_LOG, local_cloud
from tools.local_cloud.demo import run_demo
from tools.local_cloud.deploy import API_FILE, Api, deploy, locked, read_config
from tools.local_cloud.steps import StepError, say

_INTERRUPTED = 128 + signal.SIGINT
_ALREADY_UP = (
    "make local is already running in this checkout. Use that one "
    f"(once it is up, {relpath(API_FILE)} has its URL), or stop it with Ctrl-C first."
)


def main(command: str) -> int:
    """Run a command; the exit status is 0 only if everything was as expected."""

    def stop(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    # A process that a shell starts in the background ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Stop the cloud on these signals too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        config = read_config()
        if command == "demo":
            with local_cloud(config.aws_region_name) as cloud:
                run_demo(deploy(cloud, config))
        else:
            with locked("up.lock", _ALREADY_UP), local_cloud(config.aws_region_name) as cloud:
                _stay_up(deploy(cloud, config))
    except (StepError, BotoCoreError, ClientError, OSError) as error:
        failure = error if isinstance(error, StepError) else StepError(str(error), MINISTACK_LOG)
        print(f"\nFAILED: {failure.report()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\nStopped.")
        return _INTERRUPTED if command == "demo" else 0
    say("\nEverything was as expected; the local cloud is stopped.")
    return 0


def _stay_up(api: Api) -> None:
    """Say how to call the API, and keep ``.local/api.json`` until a signal ends it."""
    curl = (
        f'curl --aws-sigv4 "aws:amz:{api.region}:execute-api"'
        f" --user {api.access_key_id}:{api.secret_access_key}"
        " -H 'Content-Type: application/json'"
    )
    partial = API_FILE.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(api), indent=2) + "\n")
    partial.replace(API_FILE)
    try:
        say("\nThe API is up. In another terminal:\n")
        for path, body in (
            (f"/insertMeteringRecord/{CUSTOMER}", INSERT_ONE_FILE),
            ("/insertMeteringRecords", INSERT_MANY_FILE),
        ):
            say(f"{curl} {api.api_url}{path} --data {shlex.quote(f'@{relpath(body)}')}\n")
        say(f"{curl} {api.api_url}/listMeteringRecords/{CUSTOMER}\n")
        say(f"{relpath(API_FILE)} has the URL for programs. Ctrl-C stops the API.")
        while True:
            signal.pause()
    finally:
        API_FILE.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tools.local_cloud", description=__doc__)
    parser.add_argument("command", choices=("demo", "up"))
    sys.exit(main(parser.parse_args().command))
