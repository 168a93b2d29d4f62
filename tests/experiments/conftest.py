"""The command line as a fixture."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from bunet.experiments.commands.app import app
from tests.experiments.command_line import Answer, Bunet


@pytest.fixture(scope="session")
def bunet() -> Bunet:
    """`bunet("demo", "--size", 32)`: the status and what was written."""

    def run(*arguments: object, **environment: str) -> Answer:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)
        return Answer(result.exit_code, result.stdout, result.stderr)

    return run
