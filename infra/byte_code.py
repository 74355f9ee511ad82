"""Byte code for the bundle, compiled by an interpreter of the right version found on this machine."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_SAY_VERSION = "import platform, sys; print(sys.implementation.name, platform.python_version())"


class BundlingError(RuntimeError):
    """The bundle could not be built; the message has the output of pip or of the compiler."""


@dataclass(frozen=True)
class Interpreter:
    """A CPython on this machine."""

    executable: Path
    version: str
    """Full version, such as ``3.13.9``."""


def find_interpreter(python_version: str) -> Interpreter | None:
    """Find a released CPython whose byte code the given version, such as ``3.13``, can run.

    Byte code is bound to the minor version. The running interpreter is preferred, then the one on the path,
    then those that uv and pyenv have installed.
    """
    wanted = re.compile(rf"cpython ({re.escape(python_version)}\.\d+)")
    for executable in _candidates(python_version):
        if found := wanted.fullmatch(_described(executable)):
            return Interpreter(executable, found[1])
    return None


def compile_bundle(interpreter: Interpreter, output: Path, package: str) -> None:
    """Add byte code: Lambda's file system is read-only, so every start would compile everything again.

    Python does not check it against sources, whose times Lambda's archive does not keep. It replaces the
    dependencies' sources; those of ``package``, our own, are kept, so that tracebacks show them.
    Raises BundlingError if a module does not compile.
    """
    # The bundle's own path is stripped, so that it does not become part of the bytes.
    compileall = ["-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", str(output)]
    is_ours = rf"{re.escape(str(output / package))}[/\\]"
    for arguments in ([str(output / package)], ["-b", "-x", is_ours, str(output)]):
        run(
            [str(interpreter.executable), *compileall, *arguments],
            failure=f"Python {interpreter.version} could not compile the bundle",
        )
    for byte_code in output.rglob("*.pyc"):
        if byte_code.parent.name != "__pycache__":
            byte_code.with_suffix(".py").unlink()


def run(command: Sequence[str], *, failure: str, **variables: str) -> None:
    """Run a program with environment variables added; raises BundlingError with its output if it fails."""
    finished = subprocess.run(  # noqa: S603 - pip, or an interpreter of this machine
        command,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise BundlingError(f"{failure}:\n{finished.stdout}")


def _candidates(python_version: str) -> Iterator[Path]:
    program = f"python{python_version}"
    yield Path(sys.executable)
    if on_path := shutil.which(program):
        yield Path(on_path)
    data_home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data_home / "uv" / "python")
    yield from sorted(uv.glob(f"cpython-{python_version}.*/bin/{program}"))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{python_version}.*/bin/{program}"))


@cache
def _described(executable: Path) -> str:
    """Return name and version of an interpreter, or "" if it does not start (a shim of pyenv)."""
    command = [str(executable), "-I", "-c", _SAY_VERSION]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - as above
    except OSError:
        return ""
    return finished.stdout.strip()
