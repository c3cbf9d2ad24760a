"""Model families by name; a family's module is imported when it is asked for."""

import importlib
from pathlib import Path

from foldsmith.problem.errors import InputError, MissingPackageError, UnknownNameError
from foldsmith.problem.usercode import load_object
from foldsmith.spaces.family import Family

# In the order in which a search starts them: the likely best first, then the ones that differ most from it.
FAMILIES = {
    "lightgbm": "foldsmith.spaces.lightgbm:LightGBM",
    "xgboost": "foldsmith.spaces.xgboost:XGBoost",
    "linear": "foldsmith.spaces.linear:Linear",
    "extra_trees": "foldsmith.spaces.forests:ExtraTrees",
    "tabm": "foldsmith.spaces.tabm:TabM",
    "realmlp": "foldsmith.spaces.realmlp:RealMLP",
    "mlp": "foldsmith.spaces.mlp:MLP",
    "random_forest": "foldsmith.spaces.forests:RandomForest",
    "knn": "foldsmith.spaces.knn:KNN",
}


def known_families() -> tuple[str, ...]:
    """Names of the families that ship with foldsmith, in starting order."""
    return tuple(FAMILIES)


def get_family(name: str, code_folder: Path | None = None) -> Family:
    """The family called ``name``, or the user's own ``module:Class`` from ``code_folder``.

    Raises:
        UnknownNameError: no such family.
        InputError: the user's object is not a family.
        MissingPackageError: the library behind the family is not installed.
    """
    if ":" in name:
        if code_folder is None:
            raise InputError(f"family {name!r} needs a competition folder with code/; it is loaded from there only")
        made = load_object(name, code_folder)()
        if not isinstance(made, Family):
            raise InputError(f"{name} is not a foldsmith.spaces.family.Family; derive the class from it")
        for attribute in ("name", "prefix"):
            if not isinstance(getattr(made, attribute, None), str):
                raise InputError(f"{name} has no {attribute}; give the class a short string {attribute!r}")
        return made
    if name not in FAMILIES:
        raise UnknownNameError("family", name, FAMILIES)
    module, class_name = FAMILIES[name].split(":")
    try:
        family: Family = getattr(importlib.import_module(module), class_name)()
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"family {name!r} needs the package {error.name!r}: pip install {error.name}"
        ) from None
    return family
