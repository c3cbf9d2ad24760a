"""From out-of-fold predictions to a final ensemble, scored honestly."""
