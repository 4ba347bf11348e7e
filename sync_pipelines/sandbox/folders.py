"""Folders that another user must be able to reach, files that are written whole, and what a crash left."""

import json
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.processes import ProcessId

PASSABLE = 0o711
"""Others may pass through, and not look around: PostgreSQL, run as another user, must reach its data."""

PRIVATE = 0o700

NOBODY = 65_534
"""The user as whom a server runs that refuses to run as root."""

_OWNER = "owner.json"
_PREFIX = "sync-sandbox-"


def make_folder(folder: Path, mode: int) -> Path:
    """Make a folder, and its missing parents, with these rights whatever the umask says.

    Args:
        folder: the folder; one that exists keeps its rights.
        mode: the rights of the folder itself and of the parents made on the way.

    Raises:
        SandboxError: when it cannot be made.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        for place in reversed(missing):
            place.mkdir(exist_ok=True)
            place.chmod(mode)
    except OSError as error:
        raise SandboxError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    return folder


def passable(folder: Path, user: int) -> bool:
    """Return whether this user may pass through a folder and all its parents, by their plain rights.

    Access lists are not looked at: where they grant more, a reachable place is used without need; where they
    grant less, the server's own error tells.
    """
    return all(_may_pass(place.stat(), user) for place in (folder, *folder.parents))


def _may_pass(status: os.stat_result, user: int) -> bool:
    return bool(status.st_mode & (stat.S_IXUSR if status.st_uid == user else stat.S_IXOTH))


def new_reachable_folder(user: int) -> Path:
    """Make a folder of ours at a place that this user can reach, below a temporary folder of the system.

    Raises:
        SandboxError: when there is no such place.
    """
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_common_place(user)))
    folder.chmod(PASSABLE)
    return folder


def named_reachable_folder(name: str, user: int) -> Path:
    """Return the one folder of ours with this name at a place that this user can reach, made when missing.

    Raises:
        SandboxError: when somebody else made that folder first, or there is no such place.
    """
    folder = _common_place(user) / f"{_PREFIX}{os.geteuid()}-{name}"
    try:
        folder.mkdir()
        folder.chmod(PASSABLE)
    except FileExistsError:
        insist_on_owner(folder)
    return folder


def _common_place(user: int) -> Path:
    # TMPDIR itself may lie below a folder that only we may enter.
    for place in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        if place.is_dir() and os.access(place, os.W_OK) and passable(place.resolve(), user):
            return place.resolve()
    raise SandboxError(f"User {user} can reach no temporary folder; set TMPDIR to one that everybody may enter.")


def insist_on_owner(folder: Path) -> None:
    """Refuse a folder or link in a place open to all that another user may have put there.

    Raises:
        SandboxError: when it is not a folder that we alone may write to.
    """
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise SandboxError(f"{folder} was not made by this user; remove it, or set TMPDIR to another folder.")


def write_json(path: Path, value: Any) -> None:
    """Write a file whole or not at all: a reader, or a crash, never meets half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(value, indent=2) + "\n")
    beside.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Return what :func:`write_json` wrote; empty when there is no such file or it is not ours."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def remove(folder: Path) -> None:
    """Remove a folder and what is in it, following no link; one that is not there is fine.

    Raises:
        SandboxError: when something in it may not be removed.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SandboxError(f"{error.filename or folder} cannot be removed: {error.strerror}.") from error


@contextmanager
def temporary_folder(within: Path | None = None) -> Generator[Path]:
    """Give a new folder that other users may pass through, and remove it afterwards.

    One that a killed process left over is removed by the next call of the same user.

    Args:
        within: where it is made; else below a temporary folder of the system.
    """
    place = within or _temporary_place()
    sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    folder.chmod(PASSABLE)
    owner = ProcessId.of(os.getpid())
    assert owner is not None
    write_json(folder / _OWNER, {"host": platform.node(), "pid": owner.pid, "started": owner.started})
    try:
        yield folder
    finally:
        remove(folder)


def sweep(place: Path | None = None) -> None:
    """Remove the temporary folders of this user's processes that ended without doing so themselves.

    Args:
        place: where they lie, as in `temporary_folder`.
    """
    for folder in (place or _temporary_place()).glob(f"{_PREFIX}*"):
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and _abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    owner = read_json(folder / _OWNER)
    # Containers may share a temporary folder, and do not see each other's processes.
    if owner.get("host") != platform.node():
        return False
    return not ProcessId(owner["pid"], owner["started"]).alive()


def _temporary_place() -> Path:
    return _common_place(NOBODY if os.geteuid() == 0 else os.geteuid())
