"""Trials: Optuna studies, the driver loop, fold jobs and where they run."""
