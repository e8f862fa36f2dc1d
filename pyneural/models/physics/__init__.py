"""Physics-informed neural networks."""
