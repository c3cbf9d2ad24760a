"""Names of parameters that the libraries behind our families know, for people who want more than our spaces have."""

import importlib
import inspect
from collections.abc import Iterable

# Family -> the library that gets its parameters as they are.
LIBRARIES = {"lightgbm": "lightgbm", "lightgbm_fe": "lightgbm", "xgboost": "xgboost", "catboost": "catboost"}

# What foldsmith sets itself: the goal, devices and threads, seeds, rounds and stopping, files, and how data are binned:
# one binned data set serves all trials of a fold.
_OURS = {
    "lightgbm": """
        objective metric num_class num_iterations early_stopping_round early_stopping_min_delta first_metric_only
        boost_from_average is_provide_training_metric metric_freq eval_at task seed bagging_seed feature_fraction_seed
        extra_seed drop_seed data_random_seed objective_seed deterministic num_threads device_type force_col_wise
        force_row_wise gpu_platform_id gpu_device_id gpu_device_id_list gpu_use_dp num_gpu verbosity bagging_freq
        bagging_by_query max_bin max_bin_by_feature min_data_in_bin bin_construct_sample_cnt feature_pre_filter
        enable_bundle is_enable_sparse use_missing zero_as_missing linear_tree pre_partition two_round header
        categorical_feature label_column weight_column group_column ignore_column forcedbins_filename
        precise_float_parser parser_config_file config data valid input_model output_model output_result convert_model
        convert_model_language save_binary snapshot_freq saved_feature_importance_type histogram_pool_size time_out
        tree_learner num_machines local_listen_port machine_list_filename machines predict_raw_score
        predict_leaf_index predict_contrib predict_disable_shape_check pred_early_stop pred_early_stop_freq
        pred_early_stop_margin num_iteration_predict start_iteration_predict refit_decay_rate
        """,
    "xgboost": """
        objective eval_metric num_class n_estimators early_stopping_rounds callbacks seed nthread device tree_method
        max_bin verbosity validate_parameters missing enable_categorical feature_types feature_weights importance_type
        base_score booster
        """,
    "catboost": """
        self params loss_function eval_metric custom_metric custom_loss classes_count class_names iterations
        early_stopping_rounds od_type od_wait od_pval use_best_model best_model_min_trees eval_fraction callback
        random_seed thread_count task_type devices device_config used_ram_limit gpu_ram_part pinned_memory_size
        gpu_cat_features_storage data_partition dev_efb_max_buckets verbose silent logging_level metric_period
        allow_writing_files train_dir save_snapshot snapshot_file snapshot_interval name metadata input_borders
        output_borders cat_features text_features embedding_features ignored_features fixed_binary_splits
        target_border border_count allow_const_label posterior_sampling text_processing tokenizers dictionaries
        feature_calcers ctr_description boosting_type bootstrap_type bagging_temperature mvs_reg
        """,
}

# Names of the same thing where the library cannot tell us, ours first.
_SAME = {
    "xgboost": [
        ("eta", "learning_rate"),
        ("gamma", "min_split_loss"),
        ("reg_alpha", "alpha"),
        ("reg_lambda", "lambda"),
        ("n_estimators", "num_boost_round"),
        ("seed", "random_state"),
        ("nthread", "n_jobs"),
        ("verbosity",),
    ],
    "catboost": [
        ("learning_rate", "eta"),
        ("depth", "max_depth"),
        ("l2_leaf_reg", "reg_lambda"),
        ("rsm", "colsample_bylevel"),
        ("min_data_in_leaf", "min_child_samples"),
        ("max_leaves", "num_leaves"),
        ("border_count", "max_bin"),
        ("loss_function", "objective"),
        ("iterations", "n_estimators", "num_boost_round", "num_trees"),
        ("random_seed", "random_state"),
    ],
}


def library_names(family: str) -> dict[str, str]:
    """Every name that the family's library knows, and the one name of those that mean the same.

    Returns:
        Name -> main name; empty for families whose parameters are all our own, or without the library.

    >>> library_names("lightgbm")["min_child_samples"], library_names("knn")
    ('min_data_in_leaf', {})
    """
    library = LIBRARIES.get(family)
    try:
        if library == "lightgbm":
            return _lightgbm_names()
        if library == "xgboost":
            import xgboost

            return _merged(xgboost.XGBModel().get_params(), _SAME["xgboost"])
        if library == "catboost":
            catboost = importlib.import_module("catboost")  # optional, and without types
            return _merged(inspect.signature(catboost.CatBoostClassifier.__init__).parameters, _SAME["catboost"])
    except ModuleNotFoundError:
        pass
    return {}


def reserved_names(family: str) -> frozenset[str]:
    """Main names of those parameters of the library that foldsmith sets itself."""
    return frozenset(_OURS.get(LIBRARIES.get(family, ""), "").split())


def _lightgbm_names() -> dict[str, str]:
    """LightGBM lists its parameters with their aliases: LGBM_DumpParamAliases of its C interface."""
    from lightgbm.basic import _ConfigAliases

    found = _ConfigAliases._get_all_param_aliases()
    return {alias: name for name, aliases in found.items() for alias in (name, *aliases)}


def _merged(names: Iterable[str], same: list[tuple[str, ...]]) -> dict[str, str]:
    groups = {alias: group[0] for group in same for alias in group}
    return {name: groups.get(name, name) for name in [*names, *groups]}
