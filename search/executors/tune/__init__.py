"""Jobs under Ray Tune, for people whose clusters and tools are built on it."""
