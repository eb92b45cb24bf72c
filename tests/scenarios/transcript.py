"""Text transcripts: a command, a line of dashes, what it answered.

    # why this scenario is worth reading
    apply
    {kind: Pod, metadata: {name: web-1, labels: {app: web}}}
    ----
    pod default/web-1 created

A transcript is a list of such steps, separated by empty lines; comments go before a command. `run` gives each command
(its words, and the lines below it) to an interpreter and writes the transcript anew with what that answered; a test
compares, `--record` stores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

_LINE = "----"
Interpreter = Callable[[list[str], str], str]


@dataclass
class Step:
    """`line` is its number in the file, for messages."""

    line: int
    comments: list[str] = field(default_factory=list)
    command: str = ""
    text: list[str] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)


def parse(content: str) -> list[Step]:
    """The steps of a transcript. A trailing comment makes a step without a command."""
    steps: list[Step] = []
    step: Step | None = None
    part = "before"
    for number, line in enumerate(content.splitlines(), 1):
        if step is None:
            step, part = Step(number), "before"
        if part == "before":
            if line.startswith("#") or not line.strip():
                step.comments.append(line)
            else:
                step.command, step.line, part = line, number, "text"
        elif part == "text":
            if line == _LINE:
                part = "answer"
            else:
                step.text.append(line)
        elif line:
            step.answer.append(line)
        else:
            steps.append(step)
            step = None
    if step is not None and (step.command or any(one.strip() for one in step.comments)):
        steps.append(step)
    return steps


def run(content: str, interpreter: Interpreter) -> str:
    """The transcript with the answers of `interpreter`."""
    out: list[str] = []
    for step in parse(content):
        out += step.comments
        if step.command:
            answer = interpreter(step.command.split(), "\n".join(step.text))
            out += [step.command, *step.text, _LINE, *[line for line in answer.splitlines() if line.strip()], ""]
    return "\n".join(out).rstrip("\n") + "\n"
