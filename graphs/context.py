"""What one run may choose for itself, passed as ``context=`` when the graph is invoked."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Context:
    """Per-run choices. Models, store and limits belong to the graph, not to a run."""

    ask_person: bool = False
    """Interrupt and ask a person where the jury's vote is thin. Needs a checkpointer."""
    use_images: bool = True
    """``False`` answers from text alone, for comparison."""
