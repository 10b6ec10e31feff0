"""Which values a trial gets: the sampler, the ranges it searches, and where it starts."""
