"""Every error this package raises on purpose.

::

    CaslieError
    ├── SettingsError              a setting or profile cannot be used
    ├── MissingExtraError          an optional dependency is not installed
    ├── InputError                 what the caller passed cannot be used
    │   ├── CatalogueError         a catalogue file cannot be read at all
    │   ├── DataError              instruction data, or a shop's log, cannot be read
    │   ├── FilterError            a product filter cannot be understood
    │   ├── ImageError             an image cannot be read
    │   │   └── ImageFetchError    an image's URL cannot be fetched, or must not be
    │   ├── InstanceError          a task instance does not fit its task
    │   ├── TaskDefinitionError    a task cannot be defined, registered or removed
    │   ├── UnknownProductError    no such product in the store
    │   └── UnknownTaskError       no such task
    ├── StoreError                 the caption store cannot be used
    │   ├── StoreBusyError         another process is writing to it
    │   ├── StoreModelError        it was built with another embedding model
    │   ├── StoreNotFoundError     there is none at that place
    │   └── StoreVersionError      another version of the package wrote it
    └── ModelError                 a model failed or answered something unusable
        └── EndpointError                 a model server failed
            ├── EndpointAnswerError       its answer cannot be used
            ├── EndpointRefusedError      it refused the request
            ├── EndpointTimeoutError      it was not done by the deadline
            └── EndpointUnavailableError  it cannot be reached, or keeps failing

A message says what happened, to which item, and what to do. The cause is kept as ``__cause__``.
"""


class CaslieError(Exception):
    """Base of every error this package raises on purpose."""


class SettingsError(CaslieError):
    """A setting or profile cannot be used."""


class MissingExtraError(CaslieError):
    """An optional dependency is not installed.

    Args:
        extra: The extra of this package that brings the dependency.
        purpose: What was about to be done, as the start of a sentence.
    """

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs an optional dependency: pip install 'caslie-tools[{extra}]'")
        self.extra = extra


class InputError(CaslieError, ValueError):
    """What the caller passed cannot be used."""


class CatalogueError(InputError):
    """A catalogue file cannot be read at all."""


class DataError(InputError):
    """Instruction data, or a shop's log, cannot be read."""


class FilterError(InputError):
    """A product filter cannot be understood."""


class ImageError(InputError):
    """An image cannot be read: missing, not an image, broken or too large."""


class ImageFetchError(ImageError):
    """An image's URL cannot be fetched, or must not be.

    Args:
        message: What happened.
        passing: Whether it may well go otherwise another time: a broken connection, a busy server.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class InstanceError(InputError):
    """A task instance does not fit its task."""


class TaskDefinitionError(InputError):
    """A task cannot be defined, registered or removed."""


class UnknownProductError(InputError):
    """No such product in the store."""


class UnknownTaskError(InputError):
    """No such task."""


class StoreError(CaslieError):
    """The caption store cannot be used."""


class StoreBusyError(StoreError):
    """Another process is writing to the store."""


class StoreModelError(StoreError):
    """The store was built with another embedding model."""


class StoreNotFoundError(StoreError):
    """There is no store at that place."""


class StoreVersionError(StoreError):
    """Another version of the package wrote the store."""


class ModelError(CaslieError):
    """A model failed or answered something unusable."""


class EndpointError(ModelError):
    """A model server failed."""


class EndpointAnswerError(EndpointError):
    """A model server's answer cannot be used: not JSON, not as documented, too large, or not one of the choices."""


class EndpointRefusedError(EndpointError):
    """A model server refused the request, and would refuse it again."""


class EndpointTimeoutError(EndpointError):
    """A model server was not done by the deadline of the call, retries included."""


class EndpointUnavailableError(EndpointError):
    """A model server cannot be reached, or keeps failing."""
