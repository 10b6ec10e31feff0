"""One module for each dataset layout, each with a `read(options) -> Dataset`."""
