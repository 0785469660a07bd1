"""``caslie endpoints check``: checks the running servers of a profile."""

from typing import TYPE_CHECKING

from caslie_tools.cli.console import plain, show_table
from caslie_tools.cli.endpoints_plan import ServedProfile
from caslie_tools.cli.options import AsJson
from caslie_tools.cli.runner import FAILED, OK, Document

if TYPE_CHECKING:
    from caslie_tools.profiles.checking import RoleReport


def check(profile: ServedProfile, as_json: AsJson = False) -> tuple[Document | None, int]:
    """Check whether the running servers of a profile support what its roles need.

    The exit code is 1 if a check fails.
    """
    from caslie_tools._concurrency import run_sync
    from caslie_tools.profiles.checking import check_profile
    from caslie_tools.profiles.toml import load_profile_settings

    reports = run_sync(check_profile(load_profile_settings(profile)))
    passed = all(report.passed for report in reports)
    code = OK if passed else FAILED
    if as_json:
        roles = [report.model_dump(mode="json") | {"passed": report.passed} for report in reports]
        return {"passed": passed, "roles": roles}, code
    show_table(("role", "model", "checks", "latency", "result"), map(_row, reports))
    return None, code


def _row(report: "RoleReport") -> tuple[str, ...]:
    failed = [f"{finding.probe}: {finding.detail}" for finding in report.findings if not finding.passed]
    passed = [f"{finding.probe} ({finding.detail})" for finding in report.findings]
    latency = "" if report.milliseconds is None else f"{report.milliseconds:.0f} ms"
    result = "[red]failed[/red]" if failed else "[green]passed[/green]"
    return plain(report.role), plain(report.model), plain("; ".join(failed or passed)), latency, result
