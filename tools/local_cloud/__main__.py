"""``python -m tools.local_cloud``: ``demo`` shows the API at work, ``up`` keeps it running until Ctrl-C."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from types import FrameType

from botocore.exceptions import BotoCoreError, ClientError

from tools.example_requests import CUSTOMER, INSERT_MANY_FILE, INSERT_ONE_FILE
from tools.local_cloud.cloud import MINISTACK_LOG, local_cloud
from tools.local_cloud.demo import run_demo
from tools.local_cloud.deploy import API_FILE, Api, api_file, deploy, only_api_up, read_config
from tools.local_cloud.steps import StepError, say, shown

_INTERRUPTED = 128 + signal.SIGINT


def main() -> int:
    """Run the command line; the exit status is 0 only if everything was as expected."""
    parser = argparse.ArgumentParser(prog="python -m tools.local_cloud", description=__doc__)
    parser.add_argument("command", choices=("demo", "up"))
    command = parser.parse_args().command
    # A process that a shell starts in the background ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Stop the cloud on these signals too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)
    try:
        config = read_config()
        if command == "demo":
            with local_cloud(config.aws_region_name) as cloud:
                run_demo(deploy(cloud, config))
        else:
            with only_api_up(), local_cloud(config.aws_region_name) as cloud:
                api = deploy(cloud, config)
                with api_file(api):
                    _stay_up(api)
    except StepError as error:
        print(f"\nFAILED: {error.report()}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError, OSError) as error:
        print(f"\nFAILED: {StepError(str(error), MINISTACK_LOG).report()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\nStopped.")
        return _INTERRUPTED if command == "demo" else 0
    say("\nEverything was as expected; the local cloud is stopped.")
    return 0


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _stay_up(api: Api) -> None:
    curl = (
        f'curl --aws-sigv4 "aws:amz:{api.region}:execute-api"'
        f" --user {api.access_key_id}:{api.secret_access_key}"
        " -H 'Content-Type: application/json'"
    )
    say("\nThe API is up. In another terminal:\n")
    for path, body in (
        (f"/insertMeteringRecord/{CUSTOMER}", INSERT_ONE_FILE),
        ("/insertMeteringRecords", INSERT_MANY_FILE),
    ):
        say(f"{curl} {api.api_url}{path} --data {shlex.quote(f'@{shown(body)}')}\n")
    say(f"{curl} {api.api_url}/listMeteringRecords/{CUSTOMER}\n")
    say(f"{shown(API_FILE)} has the URL for programs. Ctrl-C stops the API.")
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
