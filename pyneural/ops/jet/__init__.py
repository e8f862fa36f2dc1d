"""Taylor mode through a multilayer perceptron, and losses of differential equations made of it."""
