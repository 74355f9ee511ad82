"""How a check may end other than well. Botocore's errors, too: the account cannot be asked, or refuses."""


class FailedError(Exception):
    """Something is wrong with the deployment, or will be; the message says what to do."""


class WarnedError(Exception):
    """Something beside the deployment should be changed; the message says what to do."""


class SkippedError(Exception):
    """A check is not possible here; the message says why."""
