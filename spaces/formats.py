"""Formats of stored encoders: one number each, and no guessing at what another version wrote."""

from pathlib import Path

from foldsmith.problem.errors import ContractError


def check_format(found: int, known: int, path: Path) -> None:
    """Refuse what another version wrote.

    Raises:
        ContractError: ``found`` is not ``known``.
    """
    if found != known:
        raise ContractError(
            f"{path} has format {found}, this foldsmith reads format {known}; "
            "use the version that wrote it, or fit the model again"
        )
