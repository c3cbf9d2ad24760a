"""Model families: search space, tuned defaults, preprocessing and the estimator of one fold."""
