"""The exceptions that this package raises.

::

    CaslieError
    ├── SettingsError                 a setting or a profile cannot be used
    ├── MissingExtraError             an optional dependency is not installed
    ├── InputError                    an argument cannot be used
    │   ├── CatalogueError            a catalogue file cannot be read
    │   ├── DataError                 instruction data or a shop's log cannot be read
    │   ├── FilterError               a product filter cannot be parsed
    │   ├── ImageError                an image cannot be read
    │   │   └── ImageFetchError       the URL of an image cannot be fetched or is not allowed
    │   ├── InstanceError             a task instance does not fit its task
    │   ├── TaskDefinitionError       a task cannot be defined, registered or removed
    │   ├── UnknownProductError       the store does not contain the product
    │   └── UnknownTaskError          there is no such task
    ├── StoreError                    the caption store cannot be used
    │   ├── StoreBusyError            another process is writing to the store
    │   ├── StoreModelError           the store was built with another embedding model
    │   ├── StoreNotFoundError        there is no store in the folder
    │   └── StoreVersionError         another version of the package wrote the store
    └── ModelError                    a model failed, or its answer cannot be used
        ├── UnsupportedModelError         a model lacks an ability that is needed, such as reporting probabilities
        └── EndpointError                 a request to a model server failed
            ├── EndpointAnswerError       the server's answer cannot be used
            ├── EndpointRefusedError      the server refused the request
            ├── EndpointTimeoutError      the server did not answer before the deadline
            └── EndpointUnavailableError  the server cannot be reached, or keeps failing

A message says what happened, to which item, and what to do. The cause is available as ``__cause__``.
"""


class CaslieError(Exception):
    """Base class of the exceptions that this package raises."""


class SettingsError(CaslieError):
    """A setting or a profile cannot be used."""


class MissingExtraError(CaslieError):
    """An optional dependency is not installed.

    Args:
        extra: The extra of this package that installs the dependency.
        purpose: What needs the dependency, as the start of a sentence.
    """

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs an optional dependency: pip install 'caslie-tools[{extra}]'")
        self.extra = extra


class InputError(CaslieError, ValueError):
    """An argument cannot be used."""


class CatalogueError(InputError):
    """A catalogue file cannot be read."""


class DataError(InputError):
    """Instruction data or a shop's log cannot be read."""


class FilterError(InputError):
    """A product filter cannot be parsed."""


class ImageError(InputError):
    """An image cannot be read: it is missing, not an image, broken or too large."""


class ImageFetchError(ImageError):
    """The URL of an image cannot be fetched or is not allowed.

    Args:
        message: What happened.
        transient: Whether another attempt may succeed, for example after a broken connection or with a busy server.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class InstanceError(InputError):
    """A task instance does not fit its task."""


class TaskDefinitionError(InputError):
    """A task cannot be defined, registered or removed."""


class UnknownProductError(InputError):
    """The store does not contain the product."""


class UnknownTaskError(InputError):
    """There is no task with the name."""


class StoreError(CaslieError):
    """The caption store cannot be used."""


class StoreBusyError(StoreError):
    """Another process is writing to the store."""


class StoreModelError(StoreError):
    """The store was built with another embedding model."""


class StoreNotFoundError(StoreError):
    """There is no store in the folder."""


class StoreVersionError(StoreError):
    """Another version of the package wrote the store."""


class ModelError(CaslieError):
    """A model failed, or its answer cannot be used."""


class UnsupportedModelError(ModelError):
    """A model lacks an ability that is needed, such as reporting probabilities."""


class EndpointError(ModelError):
    """A request to a model server failed."""


class EndpointAnswerError(EndpointError):
    """The answer of a model server cannot be used: not JSON, not in the documented form, too large, or not a choice."""


class EndpointRefusedError(EndpointError):
    """A model server refused the request. It would refuse the same request again."""


class EndpointTimeoutError(EndpointError):
    """A model server did not answer before the deadline of the call, which includes retries."""


class EndpointUnavailableError(EndpointError):
    """A model server cannot be reached, or keeps failing."""
