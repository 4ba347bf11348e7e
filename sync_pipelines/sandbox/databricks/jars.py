"""The jars that make a local Spark write Delta, fetched once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
from pathlib import Path

from sync_pipelines.sandbox import java
from sync_pipelines.sandbox.errors import SandboxError

VARIABLE = "SYNC_SPARK_JARS"
"""Names another folder for the jars than the user's cache."""

# They work together, and with pyspark 4.2.0 alone.
_ARTIFACTS = (
    ("io.delta", "delta-spark_4.2_2.13", "4.4.0"),
    ("io.delta", "delta-storage", "4.4.0"),
    ("org.postgresql", "postgresql", "42.7.14"),
)

_JAVA = 17
_NEEDED_BY = "the stand-in of Databricks"

_SOURCES = Path(__file__).parent / "java"


def class_path() -> list[Path]:
    """Return what Spark's class path needs, fetched and compiled when it is not in the cache.

    The first call takes half a minute and the network, later ones neither. Two processes may call it at once.

    Raises:
        SandboxError: when Java, Maven or pyspark is missing, or the jars cannot be fetched.
    """
    java.java(_JAVA, needed_by=_NEEDED_BY[0].upper() + _NEEDED_BY[1:])
    folder = java.built_once(_folder(), _build)
    return [*sorted(folder.glob("*.jar")), folder / "classes"]


def _folder() -> Path:
    versions = "-".join(f"{name}-{version}" for _, name, version in _ARTIFACTS)
    sources = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(_SOURCES.glob("*.java"))))
    return java.cache("spark", variable=VARIABLE) / f"pyspark-{_pyspark_version()}-{versions}-{sources.hexdigest()[:8]}"


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


def _build(folder: Path) -> None:
    java.require(("javac", "mvn"), needed_by=_NEEDED_BY)
    _fetch(folder)
    _compile(folder)


def _fetch(folder: Path) -> None:
    file = folder / "pom.xml"
    file.write_text(java.pom(_ARTIFACTS))
    # Of what they depend on, all that they need comes with pyspark or is named here.
    options = ["-B", "-q", "-ntp", "-f", str(file), f"-DoutputDirectory={folder}", "-DexcludeTransitive=true"]
    java.run("mvn", [*options, java.COPY], "The jars of Spark's Delta could not be fetched")


def _compile(folder: Path) -> None:
    classes = folder / "classes"
    sources = [str(file) for file in sorted(_SOURCES.glob("*.java"))]
    where = f"{_pyspark_jars()}/*{os.pathsep}{folder}/*"
    options = ["-nowarn", "--release", str(_JAVA), "-cp", where, "-d", str(classes)]
    java.run("javac", [*options, *sources], "The classes for Spark could not be compiled")
