"""Stage gate: record the trial, judge the candidate, say so. Any verdict is a result, so the stage succeeds on it;
only a metric that a gate needs and no stage measured ends in an error (exit 30), after the table was written.
"""

import json
import sys
from pathlib import Path

import typer

from core.errors import BadInput, PortcullisError
from gates.__main__ import print_table
from gates.explain import markdown
from gates.judge import Outcome, as_json
from gates.trials import record_trial
from gates.workspace import Workspace, open_case
from models.atomic import write_atomic


def run(root: Path = Path()) -> None:
    """Read artifacts/candidate and artifacts/backtest/metrics.json; write artifacts/gate/{verdict.json,table.md}.

    Raises BadInput for a metric that was not measured; BadInput, BadConfig or Refused for unusable files.
    """
    work = Workspace(root)
    case = open_case(work)
    record_trial(work.trials, case.trial)
    verdict = {
        **as_json(case.verdict),
        "bundle_id": case.bundle.id,
        "metrics_sha256": case.metrics_sha256,
        "gates_sha256": case.gate_file.sha256,
    }
    write_atomic(work.verdict, (json.dumps(verdict, indent=2, sort_keys=True) + "\n").encode())
    write_atomic(work.verdict.with_name("table.md"), markdown(case.verdict).encode())
    print_table(case.verdict)
    if case.verdict.outcome is Outcome.ERROR:
        raise BadInput(f"{work.metrics}: {case.verdict.reasons()}")


def main() -> None:
    """Entry point of ``python -m pipelines.gate``."""
    try:
        run()
    except PortcullisError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
