"""Linear Gaussian state-space models: filter, smoother, parameter estimation, an example."""
