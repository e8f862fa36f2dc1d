"""``python -m bench NAME``: hand over to the bench of that name."""

from __future__ import annotations

import argparse
import importlib

# Name to what it measures; the module ``bench.NAME`` has ``add_arguments`` and ``run``.
BENCHES = {
    "jet": "loss and gradient of a PDE residual through an MLP",
    "gram": "the Gram matrix of a residual's Jacobian, which second-order solvers take",
    "dense": "the dense layer with its activation, and the sparsely connected one",
    "mlp": "a whole multilayer perceptron in one call, forward and with gradients",
    "attention": "scaled dot-product attention, forward and with gradients",
    "mse_loss": "the mean squared error, forward and with gradient",
    "kalman": "state-space models: filter, smoother, likelihood with its gradient",
    "rnn": "recurrent layers, forward and with gradients",
    "transformer": "training a transformer: a step, without dropout and with it",
    "models": "training an autoencoder: a step, and a whole fit",
    "flows": "normalizing flows: training steps and sampling, beside zuko",
    "denoisers": "denoisers of diffusion models: training steps, the share of convolutions",
    "diffusion": "sampling diffusions, and training steps of a denoiser, beside torch",
    "pde": "the gallery of differential equations: error and seconds, beside what is published",
    "pde_examples": "the problems of examples/pde, beside DeepXDE and PINA: error and seconds",
    "conditions": "a ring with Robin conditions and a coefficient field, beside a plain box",
    "peak": "the share of the multiply-add peak or of the memory bandwidth that every op reaches",
    "fit": "what fit costs a step beyond the calls that it is made of",
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="bench", required=True, metavar="NAME")
    for name, text in BENCHES.items():
        module = importlib.import_module(f"bench.{name}")
        command = commands.add_parser(name, help=text, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    return options.run(options)


if __name__ == "__main__":
    raise SystemExit(main())
