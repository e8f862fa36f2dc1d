"""Training states and models in files."""
