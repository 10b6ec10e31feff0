"""One module a dataset layout, each with a `read(options) -> Dataset`."""
