"""Stage gate: record the trial, judge the candidate, say so. Any verdict is a result, so the stage succeeds on it;
only a metric that a gate needs and no stage measured ends in an error (exit 30), after everything was written.
"""

import json
from pathlib import Path

from core.errors import BadInput
from evaluation import report, results
from gates.explain import markdown, print_table
from gates.judge import Outcome, Verdict, as_json
from gates.trials import record_trial
from gates.workspace import Workspace, open_case
from models import command
from models.atomic import write_atomic
from models.output import output_folder, verify_output


def judge_candidate(work: Workspace, out: Path) -> Verdict:
    """Judge artifacts/candidate on artifacts/backtest/metrics.json; write ``out``/{verdict.json,table.md}.

    Raises BadInput, BadConfig or Refused for missing, malformed or altered files.
    """
    case = open_case(work)
    record_trial(work.trials, case.trial)
    verdict = {
        **as_json(case.verdict),
        "bundle_id": case.bundle.id,
        "metrics_sha256": case.metrics_sha256,
        "gates_sha256": case.gate_file.sha256,
    }
    write_atomic(out / work.verdict.name, (json.dumps(verdict, indent=2, sort_keys=True) + "\n").encode())
    write_atomic(out / "table.md", markdown(case.verdict).encode())
    return case.verdict


def render_report(work: Workspace, out: Path) -> None:
    """The backtest's tearsheet with the verdict in ``out`` on it. Raises BadInput naming a missing file of it."""
    verdict = json.loads((out / work.verdict.name).read_bytes())
    write_atomic(out / "report.html", report.render(*results.read(work.metrics.parent), verdict).encode())


def main() -> None:
    """Run the stage in the current folder."""
    work = Workspace(Path())
    verify_output(work.metrics.parent, stage="backtest")
    with output_folder(work.verdict.parent) as out:
        verdict = judge_candidate(work, out)
        render_report(work, out)
    print_table(verdict)
    if verdict.outcome is Outcome.ERROR:
        raise BadInput(f"{work.metrics}: {'; '.join(verdict.obstacles())}")


if __name__ == "__main__":
    command.run(main)
