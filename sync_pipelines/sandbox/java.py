"""Java and Maven, as far as the sandbox needs them: found, called, and what they fetch kept in the user's cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.folders import PRIVATE, make_folder

COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
"""Maven's goal that copies what a pom depends on into a folder."""

_REMEDY = "On Debian: apt-get install openjdk-17-jdk-headless maven. An installed Java can be named by JAVA_HOME."


def program(name: str) -> str | None:
    """The path of one of Java's programs, or of Maven; None where there is none."""
    home = os.environ.get("JAVA_HOME")
    return (home and shutil.which(name, path=str(Path(home) / "bin"))) or shutil.which(name)


def java(version: int, *, needed_by: str) -> str:
    """The path of `java`.

    Raises:
        SandboxError: there is none, or an older one than this version.
    """
    found = program("java")
    if found is None:
        raise SandboxError(f"{needed_by} needs java {version} or newer, and there is none. {_REMEDY}")
    said = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    number = re.search(r'version "(\d+)', said)
    if number is None or int(number.group(1)) < version:
        raise SandboxError(f"{needed_by} needs java {version} or newer; {found} says: {said}{_REMEDY}")
    return found


def require(names: Sequence[str], *, needed_by: str) -> None:
    """Look for programs before half of the work is done.

    Raises:
        SandboxError: one of them is missing.
    """
    missing = [name for name in names if program(name) is None]
    if missing:
        raise SandboxError(f"The first start of {needed_by} needs {' and '.join(missing)}. {_REMEDY}")


def run(name: str, arguments: Sequence[str], failure: str) -> None:
    """Run one of the programs to its end.

    Raises:
        SandboxError: it failed; `failure` begins the sentence, and the end of what it said follows.
    """
    found = program(name)
    assert found is not None
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise SandboxError(f"{failure} ({name} ended with {done.returncode}):\n{said}")


def cache(name: str, *, variable: str) -> Path:
    """The folder for what was fetched under this name: what the variable names, else one of the user's cache."""
    named = os.environ.get(variable)
    if named:
        return Path(named).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "sync-pipelines" / name


def built_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """The folder, built where it is not there: beside its place, then renamed, so that a crash leaves no half of it.

    Two processes may call it at once.
    """
    if not folder.exists():
        make_folder(folder.parent, PRIVATE)
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                _build(folder, build)
    return folder


def _build(folder: Path, build: Callable[[Path], None]) -> None:
    beside = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        build(beside)
        beside.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def pom(artifacts: Sequence[tuple[str, str, str]], *, without: Sequence[tuple[str, str]] = ()) -> str:
    """A pom that depends on these artifacts (group, name, version), each without those (group, name)."""
    excluded = "".join(
        f"<exclusion><groupId>{group}</groupId><artifactId>{name}</artifactId></exclusion>" for group, name in without
    )
    needed = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>"
        f"<exclusions>{excluded}</exclusions></dependency>"
        for group, name, version in artifacts
    )
    head = "<modelVersion>4.0.0</modelVersion><groupId>sync</groupId><artifactId>sandbox</artifactId>"
    return f"<project>{head}<version>1</version><dependencies>{needed}</dependencies></project>"
