"""The options of one run, passed as ``context=`` when the graph is invoked."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Context:
    """The options of one run. Models, store and limits belong to the graph."""

    ask_person: bool = False
    """Interrupt the run and ask a person about the jury's close decisions. Needs a checkpointer."""
    use_images: bool = True
    """``False`` answers from text only, for comparison."""
