"""What a step of training does: torch's optimisers, L-BFGS, Levenberg-Marquardt."""
