"""Describes the data, models and settings of a run. A run can be resumed only with an equal description."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from caslie_tools._version import __version__
from caslie_tools.data.records import BadRecord
from caslie_tools.domain import FrozenModel
from caslie_tools.evaluation.outcomes import Treatment
from caslie_tools.evaluation.selection import RecordSelection
from caslie_tools.pipeline.pipeline import Pipeline
from caslie_tools.roles.language_model import LanguageModel
from caslie_tools.roles.prompts import EC3_PROMPT_VERSION

if TYPE_CHECKING:
    from caslie_tools.caslie import Caslie

_CONNECTION_SETTINGS: Final = {
    "urls",
    "api_key",
    "timeout_seconds",
    "max_concurrency",
    "max_attempts",
    "max_response_bytes",
    "breaker_failures",
    "breaker_seconds",
}
"""Settings of a role that do not change what its model answers, only how it is reached."""


class RunDescription(FrozenModel):
    """Everything that the outcomes of a run depend on, as far as the run can determine it."""

    data: str
    """Name of the file or folder, or the id on the hub."""
    data_sha256: str
    """SHA-256 (hex) of the content of the selected records, not of the file."""
    instances: int
    """Number of usable records."""
    bad: tuple[str, ...]
    """The bad records, with their index and the reason."""
    tasks: tuple[str, ...]
    """The task filter. Empty: all tasks."""
    splits: tuple[str, ...]
    """The split filter. Empty: all splits."""
    limit: int | None
    treatments: tuple[Treatment, ...]
    profile: str
    captioners: tuple[str, ...]
    judges: tuple[str, ...]
    predictor: str
    models: dict[str, str] = Field(default_factory=dict)
    """SHA-256 (hex) of each role's settings, for roles that have some. Settings of the connection are excluded."""
    settings: dict[str, Any]
    """The pipeline's settings that change outcomes."""
    store: dict[str, int]
    """Number of products and images in the catalogue. Captioners may mention products that an image resembles."""
    images: str | None
    """Folder of fetched images, if any."""
    versions: dict[str, str]
    started: str = ""
    """When the run was started first (ISO 8601, UTC)."""
    command: str = ""
    """The command that started the run. Empty if it was started from Python."""

    @property
    def conditions(self) -> dict[str, Any]:
        """Everything that must be equal to resume the run."""
        conditions: dict[str, Any] = json.loads(
            json.dumps(self.model_dump(mode="json", exclude={"started", "command"}))
        )
        return conditions


def describe_run(
    selection: RecordSelection,
    caslie: "Caslie",
    *,
    treatments: tuple[Treatment, ...],
    images: Path | None,
    leave_one_out: bool = True,
    command: str = "",
) -> tuple[RunDescription, tuple[BadRecord, ...]]:
    """Returns the description of a run, and its bad records. Reads all records once."""
    digest = hashlib.sha256()
    bad: list[BadRecord] = []
    instances = 0
    for record in selection.records():
        if isinstance(record, BadRecord):
            bad.append(record)
            continue
        instances += 1
        # Captioners receive the ids of products. Outcomes name the products and users.
        content = [record.index, record.key, record.split, record.captions, record.kept, record.products]
        content += [record.users]
        digest.update(json.dumps(content).encode() + b"\n")
    pipeline, stats = caslie.pipeline, caslie.store.stats()
    gate, text_first = pipeline.cqe.gate, pipeline.text_first
    run = RunDescription(
        data=Path(selection.data).name if Path(selection.data).exists() else str(selection.data),
        data_sha256=digest.hexdigest(),
        instances=instances,
        bad=tuple(f"record {record.index}: {record.reason}" for record in bad),
        tasks=selection.tasks,
        splits=selection.splits,
        limit=selection.limit,
        treatments=treatments,
        profile=caslie.profile.name,
        captioners=pipeline.ec3.identities,
        judges=tuple(judge.get_name() for judge in pipeline.cqe.judges),
        predictor=pipeline.unim3.predictor.get_name(),
        models=_model_hashes(pipeline),
        settings={
            "wire_format": pipeline.settings.wire_format,
            "quorum": pipeline.cqe.quorum,
            "leave_one_out": leave_one_out,
            "gate": _hash(gate),
            "text_first": _hash(text_first),
        },
        store={"products": stats.products, "images": stats.images},
        images=None if images is None else str(images),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        versions={"caslie-tools": __version__, "captioning prompt": EC3_PROMPT_VERSION},
    )
    return run, tuple(bad)


def _hash(tuned: FrozenModel | None) -> str | None:
    return None if tuned is None else hashlib.sha256(tuned.model_dump_json().encode()).hexdigest()


def differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """Yields the differences between two JSON values, such as ``limit None, now 3``."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in {**before, **now}:
            yield from differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif before != now:
        yield f"{name} {_short(before)}, now {_short(now)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _model_hashes(pipeline: Pipeline) -> dict[str, str]:
    roles: dict[str, Any] = {
        f"captioner {number}": role for number, role in enumerate(pipeline.ec3.captioners, start=1)
    }
    roles |= {f"judge {number}": role for number, role in enumerate(pipeline.cqe.judges, start=1)}
    roles |= {"claim checker": None if pipeline.claims is None else pipeline.claims.judge}
    roles |= {"predictor": pipeline.unim3.predictor, "vision predictor": pipeline.vision_predictor}
    models = {name: getattr(role, "model", None) for name, role in roles.items()}
    return {
        name: hashlib.sha256(model.settings.model_dump_json(exclude=_CONNECTION_SETTINGS).encode()).hexdigest()
        for name, model in models.items()
        if isinstance(model, LanguageModel) and model.settings is not None
    }
