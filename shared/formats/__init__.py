"""The schemas that records can be rendered in, by their name in `DIRECTORY_FORMATS`.

A new one is one file beside this with one subclass of `Format`, and one entry here.
"""

from collections.abc import Iterable

from shared.errors import ConfigurationError
from shared.formats.interface import Format, RenderContext
from shared.formats.ocsf import OcsfFormat
from shared.formats.sekoia import SekoiaFormat

FORMATS: dict[str, type[Format]] = {format_.name: format_ for format_ in (OcsfFormat, SekoiaFormat)}


def formats_named(names: Iterable[str], context: RenderContext) -> list[Format]:
    """The formats of these names, ready to render. Raises ConfigurationError with all names that are none."""
    names = list(dict.fromkeys(names))
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        raise ConfigurationError(
            [
                f"DIRECTORY_FORMATS names {name!r}, which is no format; there are {', '.join(FORMATS)}."
                for name in unknown
            ]
        )
    return [FORMATS[name](context) for name in names]


def rendered_datasets(names: Iterable[str], stage: str) -> list[str]:
    """The datasets that these formats fill: of users (`members`) or of groups (`groups`)."""
    datasets = [
        FORMATS[name].users_dataset if stage == "members" else FORMATS[name].groups_dataset for name in names
    ]
    return [dataset for dataset in datasets if dataset]
