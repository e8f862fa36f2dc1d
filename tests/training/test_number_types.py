"""Whole numbers of NumPy in the place of Python's, and truth values in the place of numbers."""

import tempfile

import numpy as np
import pytest
import torch

from pyneural import data, layers, models, nn, pde
from pyneural import training as t
from pyneural.training import callbacks as c
from tests.training.problems import Quartic, small_pinn

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = X.sum(1, keepdims=True)
BURGERS = pde.Burgers()
BOX = BURGERS.domain
ONES = torch.ones(9, 1, dtype=torch.float64)


def model(**options):
    torch.manual_seed(0)
    made = t.Sequential([nn.Linear(3, 1)])
    made.compile("sgd", "mse", **options)
    return made


def fit(*beside, **options):
    return model().fit(X, Y, **({"verbose": 0, "epochs": 3} | options), callbacks=beside).history


def batches():
    while True:
        yield X[:4], Y[:4]


def trained(*phases, **options):
    quartic = Quartic()
    t.Trainer(quartic, phases, progress=False, **options).fit()
    return quartic.w.detach()


def layer(made, *shape):
    torch.manual_seed(0)
    return made.build(shape)


def walk():
    return models.StateSpaceModel(
        transition=[[1.0]], observation=[[1.0]], process_noise=[[0.1]], observation_noise=[[0.1]],
        initial_mean=[0.0], initial_covariance=[[1.0]],
    )  # fmt: skip


def weights(made):
    return [tuple(p.shape) for p in made.parameters()]


def translator(**options):
    given = {"source_symbols": 8, "target_symbols": 8, "steps": 5, "d_model": 8, "heads": 2,
             "layers": 1, "dim_feedforward": 8}  # fmt: skip
    return models.TransformerTranslator(**given | options)


def patches(**options):
    given = {"inputs": 2, "patch": 2, "outputs": 1, "d_model": 8, "heads": 2, "layers": 1}
    return weights(models.PatchTransformer(**given | options))


def pinn_fit(**options):
    pinn = small_pinn()
    pinn.fit([t.Adam(2)], progress=False, **options)
    return [p.detach() for p in pinn.parameters()]


# By function and argument: what is called, and a whole number that it takes.
CALLS = {
    "fit: epochs": (lambda n: fit(epochs=n), 2),
    "fit: batch_size": (lambda n: fit(batch_size=n), 5),
    "fit: initial_epoch": (lambda n: fit(initial_epoch=n), 1),
    "fit: verbose": (lambda n: fit(verbose=n), 0),
    "fit: steps_per_epoch": (
        lambda n: model().fit(batches(), verbose=0, steps_per_epoch=n).history, 3),
    "fit: validation_steps": (
        lambda n: fit(validation_data=batches(), validation_steps=n, shuffle=False), 3),
    "evaluate: batch_size": (lambda n: model().evaluate(X, Y, n), 5),
    "evaluate: steps": (lambda n: model().evaluate(batches(), steps=n), 2),
    "evaluate: verbose": (lambda n: model().evaluate(X, Y, verbose=n), 0),
    "predict: batch_size": (lambda n: model().predict(X, n), 5),
    "predict: steps": (lambda n: model().predict(batches(), steps=n), 2),
    "predict: verbose": (lambda n: model().predict(X, verbose=n), 0),
    "compile: accumulation_steps": (
        lambda n: model(accumulation_steps=n).fit(X, Y, verbose=0).history, 2),
    "Trainer: steps_per_epoch": (lambda n: trained(t.Adam(4), steps_per_epoch=n), 2),
    "Adam: steps": (lambda n: trained(t.Adam(n)), 3),
    "LBFGS: steps": (lambda n: trained(t.LBFGS(n)), 3),
    "LBFGS: history_size": (lambda n: trained(t.LBFGS(3, history_size=n)), 2),
    "LevenbergMarquardt: steps": (lambda n: t.LevenbergMarquardt(n).steps, 3),
    "Descent: steps": (lambda n: trained(t.Descent("sgd", steps=n)), 3),
    "Descent: epochs": (lambda n: trained(t.Descent("sgd", epochs=n), steps_per_epoch=2), 3),
    "AllData: steps_per_epoch": (lambda n: len(t.AllData(n)), 3),
    "TensorBatches: batch_size": (
        lambda n: [b.x for b in t.TensorBatches(torch.from_numpy(X), batch_size=n).epoch(0)], 5),
    "TensorBatches: seed": (
        lambda n: [b.x for b in t.TensorBatches(torch.from_numpy(X), seed=n).epoch(0)], 5),
    "ThreeWaySplit: seed": (lambda n: t.ThreeWaySplit(X, seed=n).train, 3),
    "Regressor: seed": (lambda n: t.Regressor(model, seed=n).fit(X, Y).predict(X), 3),
    "Every: n": (lambda n: fit(c.Every(n, lambda run: None)), 2),
    "LossWeights: n": (lambda n: c.LossWeights(lambda run: {}, n).n, 2),
    "Resample: n": (lambda n: c.Resample(n).n, 2),
    "AdaptivePoints: every": (lambda n: c.AdaptivePoints(n).n, 2),
    "AdaptivePoints: most": (lambda n: c.AdaptivePoints(most=n).most, 2),
    "WarmUp: steps": (lambda n: fit(c.WarmUp(n)), 2),
    "EarlyStopping: patience": (lambda n: fit(c.EarlyStopping("loss", patience=n)), 1),
    "EarlyStopping: start_from_epoch": (
        lambda n: fit(c.EarlyStopping("loss", start_from_epoch=n)), 1),
    "ReduceLROnPlateau: patience": (
        lambda n: fit(c.ReduceLROnPlateau("loss", patience=n, min_delta=9.0)), 1),
    "ReduceLROnPlateau: cooldown": (
        lambda n: fit(c.ReduceLROnPlateau("loss", patience=1, cooldown=n, min_delta=9.0)), 1),
    "PINN: points": (lambda n: small_pinn(points=n).collocation, 12),
    "PINN.fit: batch_size": (lambda n: pinn_fit(batch_size=n), 30),
    "PINN.fit: steps_per_epoch": (lambda n: pinn_fit(steps_per_epoch=n), 2),
    "Autoencoder: widths": (lambda n: weights(models.Autoencoder([4, n])), 3),
    "MultilayerPerceptron: widths": (lambda n: weights(models.MultilayerPerceptron([4, n])), 3),
    "MatrixChain: widths": (lambda n: weights(models.MatrixChain([4, n])), 3),
    "FrameClassifier: pixels": (lambda n: weights(models.FrameClassifier(n, 3, 2)), 4),
    "FrameClassifier: classes": (lambda n: weights(models.FrameClassifier(4, n, 2)), 4),
    "FrameClassifier: hidden": (lambda n: weights(models.FrameClassifier(4, 3, n)), 4),
    "Captioner: pixels": (lambda n: weights(models.Captioner(n, 5, 2, 3)), 4),
    "Captioner: symbols": (lambda n: weights(models.Captioner(4, n, 2, 3)), 5),
    "Captioner: hidden": (lambda n: weights(models.Captioner(4, 5, n, 3)), 2),
    "Captioner: steps": (lambda n: weights(models.Captioner(4, 5, 2, n)), 3),
    "PatchTransformer: inputs": (lambda n: patches(inputs=n), 2),
    "PatchTransformer: patch": (lambda n: patches(patch=n), 2),
    "PatchTransformer: outputs": (lambda n: patches(outputs=n), 2),
    "PatchTransformer: d_model": (lambda n: patches(d_model=n), 8),
    "PatchTransformer: heads": (lambda n: patches(heads=n), 2),
    "PatchTransformer: layers": (lambda n: patches(layers=n), 2),
    "RecurrentDecoder: symbols": (lambda n: weights(models.RecurrentDecoder(n, 3)), 5),
    "RecurrentDecoder: hidden": (lambda n: weights(models.RecurrentDecoder(5, n)), 3),
    "SentenceClassifier: words": (lambda n: weights(models.SentenceClassifier(n, 3)), 5),
    "SentenceClassifier: hidden": (lambda n: weights(models.SentenceClassifier(5, n)), 3),
    "SequenceRegressor: inputs": (lambda n: weights(models.SequenceRegressor("gru", n, 3, 1)), 2),
    "SequenceRegressor: hidden": (lambda n: weights(models.SequenceRegressor("gru", 2, n, 1)), 3),
    "SequenceRegressor: outputs": (lambda n: weights(models.SequenceRegressor("gru", 2, 3, n)), 2),
    "SequenceRegressor: layers": (
        lambda n: weights(models.SequenceRegressor("gru", 2, 3, 1, layers=n)), 2),
    "SimpleRNN: inputs": (lambda n: weights(models.SimpleRNN(n, 3, 1)), 2),
    "SimpleRNN: hidden": (lambda n: weights(models.SimpleRNN(2, n, 1)), 3),
    "SimpleRNN: outputs": (lambda n: weights(models.SimpleRNN(2, 3, n)), 2),
    "Translator: source_symbols": (lambda n: weights(models.Translator(n, 6, 3, 4)), 5),
    "Translator: target_symbols": (lambda n: weights(models.Translator(6, n, 3, 4)), 5),
    "Translator: hidden": (lambda n: weights(models.Translator(6, 6, n, 4)), 3),
    "Translator: steps": (lambda n: weights(models.Translator(6, 6, 3, n)), 4),
    **{
        f"TransformerTranslator: {name}": (lambda n, name=name: weights(translator(**{name: n})), v)
        for name, v in {"source_symbols": 8, "target_symbols": 8, "steps": 5, "d_model": 8,
                        "heads": 2, "layers": 2, "dim_feedforward": 4}.items()
    },
    "StateSpaceModel.simulate: steps": (lambda n: walk().simulate(n, seed=1), 3),
    "StateSpaceModel.simulate: seed": (lambda n: walk().simulate(3, seed=n), 3),
    "StateSpaceModel.simulate: series": (lambda n: walk().simulate(3, series=n), 2),
    "StateSpaceModel.forecast: steps": (lambda n: walk().forecast(ONES, n), 3),
    "fit_by_em: steps": (
        lambda n: models.fit_by_em(walk(), ONES, ["process_noise"], n).model
        .process_noise, 2),
    "fit_by_likelihood: steps": (
        lambda n: models.fit_by_likelihood(walk(), ONES, ["process_noise"], n).model
        .process_noise, 2),
    "Box.sample: n": (lambda n: BOX.sample(n, generator=torch.Generator().manual_seed(0)), 5),
    "Box.sample_initial: n": (lambda n: BOX.sample_initial(n).shape, 5),
    "Box.sample_boundary: n": (lambda n: BOX.sample_boundary(n).shape, 5),
    "Box.grid: counts": (lambda n: BOX.grid(n, 3), 4),
    "Burgers.conditions: points": (
        lambda n: [k.points.shape for k in BURGERS.conditions(n).values()], 6),
    "gauss_hermite: order": (lambda n: pde.gauss_hermite(n), 6),
    "unit_points: n": (lambda n: pde.unit_points(n, 2, "sobol").shape, 6),
    "unit_points: dim": (lambda n: pde.unit_points(4, n, "sobol").shape, 2),
    "Dense: units": (lambda n: layer(layers.Dense(n), 3), 4),
    "Dense: input_shape": (lambda n: t.Sequential([layers.Dense(2, input_shape=(n,))])[0].built, 3),
    "LSTM: units": (lambda n: layer(layers.LSTM(n), 5, 3), 4),
    "GRU: units": (lambda n: layer(layers.GRU(n), 5, 3), 4),
    "SimpleRNN (layer): units": (lambda n: layer(layers.SimpleRNN(n), 5, 3), 4),
    "Embedding: input_dim": (lambda n: layer(layers.Embedding(n, 2), 5), 4),
    "Embedding: output_dim": (lambda n: layer(layers.Embedding(4, n), 5), 2),
    "Conv2D: filters": (lambda n: layer(layers.Conv2D(n, 3), 8, 8, 1), 2),
    "Conv2D: kernel_size": (lambda n: layer(layers.Conv2D(2, n), 8, 8, 1), 3),
    "Conv2D: strides": (lambda n: layer(layers.Conv2D(2, 3, strides=n), 8, 8, 1), 2),
    "Conv2DTranspose: filters": (lambda n: layer(layers.Conv2DTranspose(n, 3), 8, 8, 1), 2),
    "MaxPooling2D: pool_size": (lambda n: layer(layers.MaxPooling2D(n), 8, 8, 1), 2),
    "UpSampling2D: size": (lambda n: layer(layers.UpSampling2D(n), 8, 8, 1), 2),
    "Reshape: target_shape": (lambda n: layer(layers.Reshape((n, 2)), 8), 4),
    "MLP: in_features": (lambda n: weights(nn.MLP(n, [3], 1)), 2),
    "MLP: hidden": (lambda n: weights(nn.MLP(2, [n], 1)), 2),
    "MLP: out_features": (lambda n: weights(nn.MLP(2, [3], n)), 2),
    "Maxout: pieces": (lambda n: nn.Maxout(n)(torch.ones(2, 4)), 2),
    "PositionalEncoding: d_model": (
        lambda n: nn.PositionalEncoding(n)(torch.zeros(1, 3, 4)), 4),
    "random_mask: in_features": (
        lambda n: nn.random_mask(3, n, 0.5, generator=torch.Generator().manual_seed(0)), 4),
    "random_mask: out_features": (
        lambda n: nn.random_mask(n, 3, 0.5, generator=torch.Generator().manual_seed(0)), 4),
    "adding_problem: count": (lambda n: data.adding_problem(n, 5), 4),
    "adding_problem: steps": (lambda n: data.adding_problem(4, n), 5),
    "adding_problem: seed": (lambda n: data.adding_problem(4, 5, n), 3),
    "dates: count": (lambda n: data.dates(n), 4),
    "dates: seed": (lambda n: data.dates(4, n), 3),
    "moving_shapes: count": (lambda n: data.moving_shapes(n), 4),
    "moving_shapes: frames": (lambda n: data.moving_shapes(4, n), 4),
    "moving_shapes: seed": (lambda n: data.moving_shapes(4, seed=n), 4),
    "moving_shapes: size": (lambda n: data.moving_shapes(4, size=n), 8),
    "reversal: count": (lambda n: data.reversal(n), 4),
    "reversal: seed": (lambda n: data.reversal(4, n), 3),
}  # fmt: skip


def same(one, two):
    """Whether results are equal, through lists, tuples, dicts and histories."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[k], two[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    if hasattr(one, "__dict__"):
        return same(vars(one), vars(two))
    return one == two


def outcome(call, value):
    torch.manual_seed(0)
    return call(value)


@pytest.mark.parametrize("case", CALLS)
@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_whole_numbers_of_numpy(case, kind):
    call, value = CALLS[case]
    assert same(outcome(call, value), outcome(call, kind(value)))


@pytest.mark.parametrize("case", [case for case in CALLS if "verbose" not in case])
@pytest.mark.parametrize("value", [True, np.True_])
def test_truth_values_are_refused(case, value):
    with pytest.raises((ValueError, TypeError), match=r"expected"):
        outcome(CALLS[case][0], value)


def saved(made):
    with tempfile.TemporaryDirectory() as folder:
        made.save(f"{folder}/model")
        again = t.load_model(f"{folder}/model")
    return [type(v) for v in again.architecture()["layers"][0]["arguments"].values()]


def checkpointed(*beside, phases=None, **options):
    """A training with a checkpoint, whose record is JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/run.safetensors"
        if phases is not None:
            return trained(*phases, checkpoint=path, **options)
        made = model(**options)
        made.fit(X, Y, verbose=0, epochs=2, checkpoint=path, callbacks=list(beside))
        again = model(**options)
        history = again.fit(
            X, Y, verbose=0, epochs=3, checkpoint=path, resume=True, callbacks=list(beside)
        )
        return history.history


def descent(**options):
    return lambda parameters: torch.optim.SGD(parameters, **({"lr": 0.5} | options))


# Likewise numbers, which float32 has exactly.
NUMBERS = {
    "fit: validation_split": (lambda v: fit(validation_split=v), 0.5),
    "fit: class_weight": (
        lambda v: model().fit(X, Y > 0, class_weight={0: v}, verbose=0).history, 0.5),
    "fit: time_limit": (lambda v: fit(time_limit=v), 64.0),
    "fit: every": (lambda v: fit(every=v), 64.0),
    "compile: clip_norm": (lambda v: checkpointed(clip_norm=v), 0.5),
    "compile: lr": (
        lambda v: model().compile(descent(lr=v), "mse") or checkpointed(), 0.5),
    "Adam: lr": (lambda v: checkpointed(phases=[t.Adam(3, v)]), 0.125),
    "Adam: final": (lambda v: checkpointed(phases=[t.Adam(3, 0.125, v)]), 0.5),
    "LBFGS: steps": (lambda v: checkpointed(phases=[t.LBFGS(int(v), history_size=2)]), 2.0),
    "LevenbergMarquardt: damping": (lambda v: t.LevenbergMarquardt(2, damping=v).damping, 0.5),
    "Trainer: every": (lambda v: checkpointed(phases=[t.Adam(2)], every=v), 64.0),
    "EMA: decay": (lambda v: checkpointed(c.EMA(v)), 0.5),
    "LearningRateScheduler: schedule": (
        lambda v: checkpointed(c.LearningRateScheduler(lambda epoch: v)), 0.125),
    "EarlyStopping: min_delta": (
        lambda v: checkpointed(c.EarlyStopping("loss", min_delta=v, patience=9)), 0.5),
    "EarlyStopping: baseline": (
        lambda v: checkpointed(c.EarlyStopping("loss", baseline=v, patience=9)), 0.5),
    "ReduceLROnPlateau: factor": (
        lambda v: checkpointed(c.ReduceLROnPlateau("loss", v, 1, min_delta=9.0)), 0.5),
    "ReduceLROnPlateau: min_lr": (
        lambda v: checkpointed(c.ReduceLROnPlateau("loss", patience=1, min_delta=9.0, min_lr=v)),
        0.0078125),
    "ModelCheckpoint: initial_value_threshold": (
        lambda v: checkpointed(c.ModelCheckpoint(
            f"{tempfile.gettempdir()}/pyneural-never", "loss", True, initial_value_threshold=v)),
        0.0),
    "ThreeWaySplit: fractions": (
        lambda v: t.ThreeWaySplit(X, fractions=(v, 0.25, 0.25)).train, 0.5),
    "Dropout: rate": (lambda v: saved(t.Sequential([layers.Dropout(v, input_shape=(3,))])), 0.5),
    "BatchNormalization: momentum": (
        lambda v: saved(t.Sequential([layers.BatchNormalization(momentum=v, input_shape=(3,))])),
        0.5),
    "nn.Dropout: p": (lambda v: saved(t.Sequential([nn.Dropout(v)])), 0.5),
    "random_mask: sparsity": (
        lambda v: nn.random_mask(3, 4, v, generator=torch.Generator().manual_seed(0)), 0.5),
    "SparseNetwork: sparsity": (lambda v: weights(models.SparseNetwork([2, 4, 1], v)), 0.5),
    "Burgers: viscosity": (lambda v: pde.Burgers(v).nu, 0.5),
    "Box: bounds": (lambda v: pde.Box(x=(0, v)).grid(3), 0.5),
}  # fmt: skip


@pytest.mark.parametrize("case", NUMBERS)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_numbers_of_numpy(case, kind):
    call, value = NUMBERS[case]
    assert same(outcome(call, value), outcome(call, kind(value)))


@pytest.mark.parametrize("rate", [0.125, np.float32(0.125), np.float64(0.125), torch.tensor(0.125)])
def test_a_rate_of_any_kind_in_a_checkpoint(tmp_path, rate):
    made, path = model(), tmp_path / "run"
    made.compile(descent(lr=rate, momentum=np.float32(0.5)), "mse")
    made.fit(X, Y, verbose=0, checkpoint=path)
    made.fit(X, Y, epochs=2, verbose=0, checkpoint=path, resume=True)
    assert float(made.optimizer.param_groups[0]["lr"]) == 0.125
