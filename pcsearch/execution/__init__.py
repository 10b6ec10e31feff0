"""The campaign under Ray Tune: launch, resume, workers. It decides nothing: `search` does."""
