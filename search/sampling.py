"""From a declared space to Optuna's ask: suggestions, seeds, and which points were tried."""

import json
import warnings
import zlib
from collections.abc import Mapping

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning

from foldsmith.spaces.space import Float, Int, Params, Space, Value


def suggest(trial: optuna.Trial, space: Space) -> Params:
    """Suggest every active parameter of ``space``, in its order."""
    params: Params = {}
    for name, param in space.params.items():
        if param.when is not None and not param.when.holds(params):
            continue
        if isinstance(param, Float):
            params[name] = trial.suggest_float(name, param.low, param.high, log=param.log)
        elif isinstance(param, Int):
            params[name] = trial.suggest_int(name, param.low, param.high, log=param.log)
        else:
            params[name] = trial.suggest_categorical(name, param.choices)
    return params


def sampler_for(
    space: Space, study_name: str, seed: int, n_trials: int, *, explore: bool = False
) -> optuna.samplers.BaseSampler:
    """The sampler of the next ask: a TPE whose seed depends on the trial's number.

    A sampler made once would repeat its random start after every resume (Optuna issue 3255); seeded per ask, a
    resumed study continues the sequence of an uninterrupted one.

    Args:
        explore: draw at random, because the TPE repeated itself.
    """
    stream = np.random.SeedSequence([seed, zlib.crc32(study_name.encode()), n_trials])
    if explore:
        return optuna.samplers.RandomSampler(seed=int(stream.generate_state(1)[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # Without group, parameters that are not always there would be sampled independently of all others.
        return optuna.samplers.TPESampler(
            seed=int(stream.generate_state(1)[0]), multivariate=True, constant_liar=True, group=space.is_conditional
        )


def point_key(params: Mapping[str, Value]) -> str:
    """The same text for the same point of a space."""
    return json.dumps(params, sort_keys=True)


def fold_seed(model_seed: int, repeat: int, fold: int) -> int:
    """The estimator's seed in one fold: differs between folds, not between trials."""
    return int(np.random.SeedSequence([model_seed, repeat, fold]).generate_state(1)[0])
