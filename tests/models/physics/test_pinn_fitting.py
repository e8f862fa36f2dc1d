"""Training of a PINN by the one engine: new points, early stop, warm starts, two processes."""

from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file, save_file

from pyneural import models, nn, pde
from pyneural.training import LBFGS, Adam, CheckpointError, callbacks
from tests.models.physics.balancing_problems import make
from tests.processes import run_on_two_processes

PROCESSES = """
import sys
from pathlib import Path
import torch
from tests.models.physics.test_pinn_fitting import together

torch.set_num_threads(1)
together(Path(sys.argv[1]), rank=int(__import__("os").environ["RANK"]))
"""


def burgers(nu=0.1, points=30, dtype=torch.float64, hidden=(8,), seed=0, box=None, **options):
    torch.manual_seed(seed)
    equation = pde.Burgers(nu)
    if box is not None:
        equation.domain = box
    drawing = {"generator": torch.Generator().manual_seed(seed), "dtype": dtype}
    network = nn.MLP(2, hidden, 1, input_range=equation.domain.range).to(dtype)
    conditions = equation.conditions(20, **drawing)
    return models.PINN(network, conditions, equation=equation, points=points, **options)


def same(first, second):
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("batch_size", [None, 8])
def test_points_drawn_every_few_steps_with_all_else_are_resumed(adaptive, batch_size, tmp_path):
    exact = pde.Burgers(0.1)
    grid = exact.domain.grid(5, 7, dtype=torch.float64)
    known = grid, exact.exact(*grid.T)[:, None]
    drawn = []

    def run(pause=-1, **options):
        model = burgers(generator=torch.Generator().manual_seed(1))

        def look(run):
            drawn.append(model.collocation.clone())
            if run.steps == pause:
                run.pause("now")

        more = [
            callbacks.Resample(2, adaptive),
            callbacks.EarlyStopping("error", patience=50, restore_best_weights=False),
            callbacks.EMA(0.9),
            callbacks.GradientNormWeights(3),
            callbacks.Every(1, look),
        ]
        report = model.fit(
            [Adam(7), LBFGS(4)], reference=known, callbacks=more, batch_size=batch_size,
            steps_per_epoch=3, progress=False, **options,
        )  # fmt: skip
        return model, report

    whole, report = run()
    changes = [not torch.equal(*pair) for pair in pairwise(drawn)]
    assert changes == [True, False] * 5
    for pause in (3, 8):
        path = {"checkpoint": tmp_path / f"{pause}.safetensors"}
        run(pause, **path)
        model, resumed = run(resume=True, **path)
        assert same(whole, model)
        assert resumed.history["error"] == report.history["error"]


def test_a_training_stops_when_the_error_against_a_reference_grows():
    model = burgers()
    grid = model.domain.grid(5, 7, dtype=torch.float64)
    wrong = model.predict(grid)  # which training leaves
    report = model.fit(
        Adam(50), reference=(grid, wrong), steps_per_epoch=2, progress=False,
        callbacks=[callbacks.EarlyStopping("error", patience=3, restore_best_weights=True)],
    )  # fmt: skip
    errors = report.history["error"]
    assert report.steps < 50
    assert report.reason.startswith("EarlyStopping: error was best in epoch 1")
    assert model.relative_l2(grid, wrong) == pytest.approx(min(errors), rel=1e-12)


def test_weights_alone_go_to_another_problem_with_a_report():
    source, model = burgers(nu=0.2, seed=1), burgers(points=12, hidden=(8,))
    source.fit(Adam(20), progress=False)
    points, draws = model.collocation.clone(), model.generator.get_state()
    report = model.warm_start(source)
    x = model.domain.sample(50, dtype=torch.float64)
    assert torch.equal(model.predict(x), source.predict(x))
    assert torch.equal(model.collocation, points)
    assert torch.equal(model.generator.get_state(), draws)
    assert model.equation.nu == 0.1
    assert set(report.taken) == {n for n in model.state_dict() if n.startswith("network.")}
    assert str(report).splitlines() == [
        "taken over: network, 37 numbers in 6 tensors",
        "kept: equation Burgers(nu=0.1), in the source Burgers(nu=0.2)",
        "kept: collocation [12, 2], in the source [30, 2]",
    ]
    source.network.layers[0].weight.data.zero_()
    assert model.network.layers[0].weight.abs().min() > 0  # not shared


@pytest.mark.parametrize("writer", ["save", "checkpoint"])
def test_weights_alone_are_read_from_a_file(writer, tmp_path):
    path = tmp_path / "source.safetensors"
    source = burgers(nu=0.2, seed=1)
    source.fit(Adam(3), progress=False, **({"checkpoint": path} if writer == "checkpoint" else {}))
    if writer == "save":
        source.save(path)
    longer = pde.Box(t=(0, 2), x=(-1, 1))
    model = burgers(points=12, dtype=torch.float32, box=longer)
    report = model.warm_start(path)
    x = source.domain.sample(50, dtype=torch.float64)
    torch.testing.assert_close(model.predict(x), source.predict(x).float(), rtol=1e-5, atol=1e-5)
    first, *rest = str(report).splitlines()
    assert "float64 to float32" in first
    assert "with its input_range, which differs" in first
    beside = ", in the source Burgers(nu=0.2)" if writer == "checkpoint" else ""
    assert rest[0] == f"kept: equation Burgers(nu=0.1){beside}"
    (tensor,) = {p.dtype for p in model.parameters()}
    assert tensor == torch.float32


def test_unknowns_are_taken_over_only_where_asked():
    def unknown(value):
        return torch.nn.Parameter(torch.tensor(value, dtype=torch.float64))

    source, model = burgers(unknown(0.3), seed=1), burgers(unknown(0.1))
    model.warm_start(source)
    assert model.equation.nu.item() == 0.1
    assert "kept: equation.nu, other values in the source" in str(model.warm_start(source))
    report = model.warm_start(source, ("network", "equation"))
    assert model.equation.nu.item() == 0.3
    assert "taken over: equation, 1 numbers in 1 tensors" in str(report)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (lambda: burgers(hidden=(9,)), CheckpointError, r"layers.0.weight: expected \(8, 2\)"),
        (lambda: burgers(hidden=(8, 8)), CheckpointError, r"warm_start: network.layers"),
        (lambda: "missing.safetensors", CheckpointError, r"expected a file .*, got none; pinn.sav"),
        (lambda: nn.MLP(2, [8], 1), TypeError, r"source: expected a PINN, or .* got MLP"),
    ],
)
def test_sources_that_do_not_fit_leave_the_model_as_it_was(given, error, message):
    model = burgers()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(error, match=message):
        model.warm_start(given())
    with pytest.raises(ValueError, match=r"parts: expected some of network, .* got 'points'"):
        model.warm_start(burgers(), ("network", "points"))
    with pytest.raises(ValueError, match="parts: expected parts that have weights, got 'equation'"):
        model.warm_start(burgers(), "equation")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_warm_start_saves_steps():
    source = burgers(0.2, points=100, hidden=(12, 12), seed=2)
    source.fit([Adam(200), LBFGS(150)], progress=False)
    cold, warm = burgers(0.18, 100, hidden=(12, 12)), burgers(0.18, 100, hidden=(12, 12))
    warm.warm_start(source)
    losses = [m.fit(LBFGS(40), progress=False).phases[0].loss for m in (warm, cold)]
    assert losses[0] < losses[1] / 2


def together(out, rank):
    """A training that two processes share, or one that does as they do; each gives its state."""
    generator = torch.Generator().manual_seed(5 + (rank or 0))
    model = make(points=19, generator=generator)

    def agree():  # as the processes do on the first one's points
        if rank is None:
            generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))

    agree()
    if rank:  # rank 0's weights and points are taken
        model.network.layers[0].weight.data.add_(1.0)
    more = [callbacks.Resample(3, adaptive=True), callbacks.GradientNormWeights(2)]
    path = out / "fit.safetensors"
    model.fit([Adam(6), LBFGS(2)], callbacks=more, batch_size=7, progress=False, checkpoint=path)
    agree()
    growing = callbacks.AdaptivePoints(2, jump=1.001)
    model.fit(LBFGS(8), callbacks=[growing], progress=False)
    assert len(model.collocation) > 19
    weights = {f"weight {n}": torch.tensor(w) for n, w in model.weights.items()}
    state = {n: v for n, v in model.state_dict().items() if v.is_floating_point()}
    save_file(
        {**state, **weights}, out / f"{'alone' if rank is None else f'rank{rank}'}.safetensors"
    )


def test_two_processes_train_as_one(tmp_path):
    run_on_two_processes(PROCESSES, tmp_path)
    first, second = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    (tmp_path / "fit.safetensors").unlink()
    together(tmp_path, rank=None)
    for name, value in load_file(tmp_path / "alone.safetensors").items():
        torch.testing.assert_close(first[name], value, rtol=1e-7, atol=1e-9, msg=name)


def test_a_training_with_other_residuals_or_conditions_is_not_resumed(tmp_path):
    box, path = pde.Box(t=(0, 1), x=(-1, 1)), tmp_path / "heat.safetensors"
    z = torch.rand(6, 2, generator=torch.Generator().manual_seed(0))

    def train(steps, operator=lambda u: u.x - 1, value=0.0, order=0, factor=1, **options):
        class Heat(pde.Equation):
            inputs, outputs, domain = "tx", "u", box

            def residual(self, u):
                return u.t - factor * u.xx

        torch.manual_seed(0)
        at_start = {"dtype": torch.float32, "generator": torch.Generator().manual_seed(0)}
        conditions = {
            "slope": pde.Operator(operator, z, inputs="tx", value=value),
            "start": pde.Initial(box, 0.0, 5, order=order, **at_start),
        }
        model = models.PINN(nn.MLP(2, [4], 1), conditions, equation=Heat(), points=10)
        return model.fit(Adam(steps), checkpoint=path, progress=False, **options)

    train(2)
    others = [
        {"operator": lambda u: u.x - 2}, {"operator": lambda u: u.t - 1}, {"value": 1.0},
        {"order": 1}, {"factor": 3},
    ]  # fmt: skip
    for other in others:
        with pytest.raises(CheckpointError, match=r"conditions: expected|residual: expected"):
            train(4, resume=True, **other)
    assert train(4, resume=True).steps == 4


@pytest.mark.parametrize("from_file", [False, True])
def test_weights_of_another_function_of_the_same_shapes_are_refused(from_file, tmp_path):
    burgers = pde.Burgers()

    def make(activation):
        network = nn.MLP(2, [5], 1, activation, input_range=burgers.domain.range)
        return models.PINN(network, burgers.conditions(10), equation=burgers, points=10)

    source, path = make("sin"), tmp_path / "run.safetensors"
    source.fit(Adam(1), checkpoint=path, progress=False)
    with pytest.raises(ValueError, match=r"(?s)warm_start: network: .*'tanh'.* got .*'sin'"):
        make("tanh").warm_start(path if from_file else source)
    make("sin").warm_start(path if from_file else source)
