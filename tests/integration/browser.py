"""Headless Chromium, from the npm package if it runs here, otherwise the installed one."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tools.local_cloud.steps import PROJECT

UNPACK = 'import chromium from "@sparticuz/chromium"; console.log(await chromium.executablePath());'
INSTALLED = ("google-chrome", "chromium", "chromium-browser")


class NoChromiumError(Exception):
    """There is no Chromium on this machine."""


@contextmanager
def chromium_page() -> Iterator[Page]:
    """Open an empty page; the browser is closed afterwards."""
    with ExitStack() as stack:
        environment: dict[str, str | float | bool] = dict(os.environ)
        # The npm package has a build for Linux on x86.
        if sys.platform == "linux" and platform.machine() == "x86_64":
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            executable = unpack(scratch)
            environment["LD_LIBRARY_PATH"] = str(scratch / "al2023" / "lib")
            environment["FONTCONFIG_FILE"] = str(scratch / "fonts.conf")
        else:
            executable = installed()
        playwright = stack.enter_context(sync_playwright())
        browser = stack.enter_context(
            # A container has no sandbox, and what is shown is this project's.
            playwright.chromium.launch(executable_path=executable, env=environment, chromium_sandbox=False)
        )
        yield browser.new_page(viewport={"width": 1280, "height": 1600})


def unpack(scratch: Path) -> str:
    """Unpack the browser with the libraries and fonts that it needs, whatever the machine has."""
    unpacked = subprocess.run(  # noqa: S603 - a package of the project's
        ["node", "--input-type=module", "--eval", UNPACK],  # noqa: S607 - the one on the path
        cwd=PROJECT / "tools",
        # The package unpacks the libraries only where it detects Lambda.
        env=os.environ | {"TMPDIR": str(scratch), "AWS_LAMBDA_JS_RUNTIME": "nodejs20.x"},
        capture_output=True,
        text=True,
        check=True,
    )
    (scratch / "fonts.conf").write_text(
        f"<fontconfig><dir>{scratch}/fonts</dir><cachedir>{scratch}/fonts-cache</cachedir></fontconfig>"
    )
    return unpacked.stdout.strip()


def installed() -> str:
    """Find a browser on the path."""
    for name in INSTALLED:
        if found := shutil.which(name):
            return found
    raise NoChromiumError(f"There is no Chromium on the path ({', '.join(INSTALLED)}).")
