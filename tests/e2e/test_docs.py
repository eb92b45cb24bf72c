"""Every command that README and docs show is run here, in their order, by a person's shell on a cluster of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.conftest import skip_without_namespaces
from tests.helpers.cluster import Cluster
from tests.helpers.kubectl import MINORS, KubectlMissing, binary

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 30.0
"""Seconds that a person would try a command again: pods need a moment."""


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language ("" for those without)."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.M | re.S)
    return [text for tag, text in found if tag == language]


def transcript(text: str) -> Iterator[tuple[str, list[str]]]:
    """(command, the lines that followed) of a block with `$ ` prompts."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, *output = part.rstrip().splitlines()
        yield command, [line for line in output if line and line != "..."]


def landmark(line: str) -> str:
    """What of a line does not change: its beginning up to the first digit or generated part, whatever the columns."""
    return " ".join(re.split(r"\d|web-|\(", line)[0].split())


@dataclass
class Person:
    """A shell in an empty directory that has the examples, with skerry and kubectl on the path."""

    place: Path
    environment: dict[str, str]

    def type(self, command: str) -> str:
        """The output of a command that works, perhaps after some tries."""
        end = time.monotonic() + PATIENCE
        while True:
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=self.place,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
                stdin=subprocess.DEVNULL,
            )
            if done.returncode == 0:
                return done.stdout + done.stderr
            assert time.monotonic() < end, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            time.sleep(0.2)


@pytest.fixture
def person(new_cluster: Callable[..., Cluster], tmp_path: Path) -> Person:
    """Their home is that of a cluster named `default`, which the commands start and which is deleted at the end."""
    skip_without_namespaces()
    try:
        kubectl = binary(MINORS[-1])
    except KubectlMissing as error:
        pytest.skip(str(error))
    made = new_cluster(name="default")
    place = tmp_path / "place"
    place.mkdir()
    (place / "examples").symlink_to(ROOT / "examples")
    (place / "manifests").symlink_to(ROOT / "examples")
    path = [os.path.dirname(sys.executable), str(kubectl.parent), made.environment["PATH"]]
    return Person(place, {**made.environment, "PATH": ":".join(path)})


@pytest.mark.rootless
def test_the_transcript_of_the_readme_is_true(person: Person) -> None:
    (text,) = [block for block in blocks(ROOT / "README.md", "") if block.startswith("$ skerry up")]
    steps = list(transcript(text))
    assert len(steps) >= 6
    for command, recorded in steps:
        said = person.type(command)
        for line in recorded:
            known = landmark(line)
            found = any(landmark(one).startswith(known) for one in said.splitlines())
            assert found, f"{command}: no {known!r} in\n{said}"


@pytest.mark.usefixtures("port_30080")
def test_the_tutorial_by_hand(person: Person) -> None:
    for block in blocks(ROOT / "docs" / "tutorial.md", "sh"):
        for command in block.splitlines():
            person.type(command)


def test_canaries(person: Person) -> None:
    person.type("skerry up --ephemeral")
    for block in blocks(ROOT / "docs" / "how-to" / "rolling-updates.md", "sh"):
        for command in block.splitlines():
            said = person.type(command)
            if "uniq -c" in command:
                assert sum(int(line.split()[0]) for line in said.splitlines()) == 62, said


def test_names(person: Person) -> None:
    for block in blocks(ROOT / "docs" / "how-to" / "names.md", "sh"):
        for command in block.splitlines():
            person.type(command)


def test_access_and_pools_of_addresses(person: Person) -> None:
    person.type("skerry up --ephemeral --nodes 0")
    for page in ("access.md", "load-balancer.md"):
        for block in blocks(ROOT / "docs" / "how-to" / page, "sh"):
            for command in block.splitlines():
                person.type(command)


def test_ingress(person: Person) -> None:
    for block in blocks(ROOT / "docs" / "how-to" / "ingress.md", "sh"):
        for command in block.splitlines():
            said = person.type(command)
            if command.startswith("kubectl describe"):
                assert "Service default/nobody does not exist." in said


def test_gateway_api(person: Person) -> None:
    person.type("skerry up --ephemeral")
    person.type(f"kubectl apply -f {ROOT / 'tests' / 'helpers' / 'gateway-api.yaml'}")
    for block in blocks(ROOT / "docs" / "how-to" / "gateway-api.md", "sh"):
        for command in block.splitlines():
            said = person.type(command)
            if command.startswith("kubectl describe"):
                assert "BackendNotFound" in said


def test_in_ci(person: Person) -> None:
    """The how-to's job, but for the installation and for images that only a registry has."""
    block = next(one for one in blocks(ROOT / "docs" / "how-to.md", "sh") if "--ephemeral" in one)
    (person.place / "manifests").unlink()
    (person.place / "manifests").mkdir()
    (person.place / "manifests" / "web.yaml").write_text(
        (ROOT / "examples" / "nginx-deployment.yaml").read_text().replace("image: nginx:1.14.2", HOST)
    )
    script = "set -e\n" + block.replace("pip install .\n", "")
    assert "condition met" in person.type(script)


HOST = "image: host\n          command: [sleep, infinity]"


def test_every_example_and_verb_that_the_pages_name_is_there() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        for name in re.findall(r"\bexamples/[\w.-]+", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name} names {name}"
        words = re.sub(r"`[^`\n]*`", "", page.read_text())  # brackets in code are no link
        for name in re.findall(r"\]\(((?!http)[^)#]+)\)", words):
            assert (page.parent / name).exists(), f"{page.name} leads to {name}, which is not there"
        for name in re.findall(r"`python (bench/\w+\.py)`", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name} names {name}"
