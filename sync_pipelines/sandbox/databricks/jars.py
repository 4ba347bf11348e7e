"""The jars that make a local Spark write Delta, fetched once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock

from sync_pipelines.sandbox.errors import SandboxError
from sync_pipelines.sandbox.folders import PRIVATE, make_folder

VARIABLE = "SYNC_SPARK_JARS"
"""Names another folder for the jars than the user's cache."""

# They work together, and with pyspark 4.2.0 alone.
_ARTIFACTS = (
    ("io.delta", "delta-spark_4.2_2.13", "4.4.0"),
    ("io.delta", "delta-storage", "4.4.0"),
    ("org.postgresql", "postgresql", "42.7.14"),
)

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

_JAVA = 17

_SOURCES = Path(__file__).parent / "java"

_REMEDY = "On Debian: apt-get install openjdk-17-jdk-headless maven. An installed Java can be named by JAVA_HOME."


def class_path() -> list[Path]:
    """Return what Spark's class path needs, fetched and compiled when it is not in the cache.

    The first call takes half a minute and the network, later ones neither. Two processes may call it at once.

    Raises:
        SandboxError: when Java, Maven or pyspark is missing, or the jars cannot be fetched.
    """
    _insist_on_java()
    folder = _folder()
    if not folder.exists():
        make_folder(folder.parent, PRIVATE)
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                _build(folder)
    return [*sorted(folder.glob("*.jar")), folder / "classes"]


def _folder() -> Path:
    versions = "-".join(f"{name}-{version}" for _, name, version in _ARTIFACTS)
    sources = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(_SOURCES.glob("*.java"))))
    return _cache() / f"pyspark-{_pyspark_version()}-{versions}-{sources.hexdigest()[:8]}"


def _cache() -> Path:
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "sync-pipelines" / "spark"


def _pyspark_version() -> str:
    try:
        return importlib.metadata.version("pyspark")
    except importlib.metadata.PackageNotFoundError as error:
        raise SandboxError("pyspark is missing: pip install 'sync-pipelines[databricks]'.") from error


def _pyspark_jars() -> Path:
    spec = importlib.util.find_spec("pyspark")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "jars"


def _insist_on_java() -> None:
    java = _program("java")
    if java is None:
        raise SandboxError(f"The stand-in of Databricks needs java {_JAVA} or newer, and there is none. {_REMEDY}")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    number = re.search(r'version "(\d+)', said)
    if number is None or int(number.group(1)) < _JAVA:
        raise SandboxError(f"The stand-in of Databricks needs java {_JAVA} or newer; {java} says: {said}{_REMEDY}")


def _program(name: str) -> str | None:
    home = os.environ.get("JAVA_HOME")
    return (home and shutil.which(name, path=str(Path(home) / "bin"))) or shutil.which(name)


def _build(folder: Path) -> None:
    """Make the folder beside its place, then rename it: a crash leaves no half of it."""
    missing = [name for name in ("javac", "mvn") if _program(name) is None]
    if missing:
        raise SandboxError(f"The first start of the stand-in of Databricks needs {' and '.join(missing)}. {_REMEDY}")
    beside = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
    try:
        _fetch(beside)
        _compile(beside)
        beside.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _fetch(folder: Path) -> None:
    pom = folder / "pom.xml"
    pom.write_text(_pom())
    # Of what they depend on, all that they need comes with pyspark or is named here.
    options = ["-B", "-q", "-ntp", "-f", str(pom), f"-DoutputDirectory={folder}", "-DexcludeTransitive=true"]
    _run("mvn", [*options, _COPY], "The jars of Spark's Delta could not be fetched")


def _pom() -> str:
    needed = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        for group, name, version in _ARTIFACTS
    )
    head = "<modelVersion>4.0.0</modelVersion><groupId>sync</groupId><artifactId>sandbox</artifactId>"
    return f"<project>{head}<version>1</version><dependencies>{needed}</dependencies></project>"


def _compile(folder: Path) -> None:
    classes = folder / "classes"
    sources = [str(file) for file in sorted(_SOURCES.glob("*.java"))]
    where = f"{_pyspark_jars()}/*{os.pathsep}{folder}/*"
    options = ["-nowarn", "--release", str(_JAVA), "-cp", where, "-d", str(classes)]
    _run("javac", [*options, *sources], "The classes for Spark could not be compiled")


def _run(name: str, arguments: list[str], failure: str) -> None:
    program = _program(name)
    assert program is not None
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise SandboxError(f"{failure} ({name} ended with {done.returncode}):\n{said}")
