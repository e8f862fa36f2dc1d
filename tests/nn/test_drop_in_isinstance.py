"""isinstance, issubclass and type with nn's layers find what they find with torch.nn's."""

from __future__ import annotations

import abc
import copy
import pickle

import pytest
import torch
from torch.nn.utils import parametrizations

from pyneural import nn

# A layer of each class that nn replaces.
LAYERS = {
    "Linear": (3, 4),
    "LazyLinear": (4,),
    "Dropout": (0.5,),
    "MSELoss": (),
    "MultiheadAttention": (4, 2),
    "RNN": (3, 4),
    "LSTM": (3, 4),
    "GRU": (3, 4),
    "RNNCell": (3, 4),
    "LSTMCell": (3, 4),
    "GRUCell": (3, 4),
    "Sequential": (),
    "TransformerEncoderLayer": (4, 2, 8),
    "TransformerDecoderLayer": (4, 2, 8),
    "Transformer": (4, 2, 1, 1, 8),
}
REPLACED = [
    name
    for name in nn.__all__
    if hasattr(torch.nn, name) and getattr(nn, name) is not getattr(torch.nn, name)
]


def make(package, name):
    if name in ("TransformerEncoder", "TransformerDecoder"):
        return getattr(package, name)(make(package, f"{name}Layer"), 1)
    return getattr(package, name)(*LAYERS[name])


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("name", REPLACED)
def test_both_ways(name):
    ours, theirs = getattr(nn, name), getattr(torch.nn, name)
    for layer in (make(nn, name), make(torch.nn, name)):
        assert isinstance(layer, ours)
        assert isinstance(layer, theirs)
    assert issubclass(ours, theirs)
    assert issubclass(theirs, ours)
    assert type(make(nn, name)) is ours
    assert not isinstance(torch.nn.Conv1d(1, 1, 1), ours)
    assert not issubclass(torch.nn.Module, ours)
    assert not isinstance("no module", ours)


class Third(torch.nn.Linear):
    """A layer of another library."""


class Mine(nn.Linear):
    """A layer of the user's."""


class Abstract(abc.ABC):
    @abc.abstractmethod
    def answer(self): ...


class Concrete(nn.Linear, Abstract):
    def answer(self):
        return 42


def test_subclasses_answer_for_themselves():
    assert isinstance(Third(2, 3), nn.Linear)
    assert isinstance(Mine(2, 3), torch.nn.Linear)
    assert isinstance(Mine(2, 3), Mine)
    for other in (nn.Linear(2, 3), torch.nn.Linear(2, 3), Third(2, 3)):
        assert not isinstance(other, Mine)
    assert issubclass(Mine, nn.Linear)
    assert not issubclass(nn.Linear, Mine)
    assert Concrete(2, 3).answer() == 42
    assert isinstance(Concrete(2, 3), Abstract)
    assert isinstance(parametrizations.weight_norm(nn.Linear(2, 3)), nn.Linear)
    assert isinstance(Third(2, 3), (nn.Conv1d, nn.Linear))
    match Third(2, 3):
        case nn.Linear(out_features=3):
            pass
        case _:
            pytest.fail("a class pattern is isinstance")


def model(package, seed=0):
    """Linear layers wherever there may be some."""
    torch.manual_seed(seed)
    return torch.nn.ModuleDict(
        {
            "plain": package.Linear(4, 4),
            "lazy": package.LazyLinear(4),
            "third": Third(4, 4),
            "attention": package.MultiheadAttention(4, 2),
            "transformer": package.Transformer(4, 2, 1, 1, 8),
            "sequential": package.Sequential(package.Linear(4, 4), package.Dropout(0.1)),
        }
    )


@pytest.mark.parametrize("name", ["Linear", "Dropout", "MultiheadAttention", "Sequential"])
def test_apply_finds_what_it_finds_with_torch(name):
    found = []
    for package in (torch.nn, nn):
        cls, net = getattr(package, name), model(package)
        names = {id(module): key for key, module in net.named_modules()}
        seen = []
        net.apply(lambda m, c=cls, n=names, s=seen: isinstance(m, c) and s.append(n[id(m)]))
        found.append(sorted(seen))
    assert found[0] == found[1]
    assert len(found[0]) > 0


def test_initialising_by_isinstance():
    states = []
    for package in (torch.nn, nn):
        net = model(package)
        net["lazy"](torch.ones(2, 4))

        def initialise(module, package=package):
            if isinstance(module, package.Linear):
                torch.nn.init.xavier_uniform_(module.weight)
                torch.nn.init.constant_(module.bias, 0.01)

        torch.manual_seed(7)
        net.apply(initialise)
        states.append(net.state_dict())
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_lazy_layer_becomes_ours():
    layer = nn.LazyLinear(4)
    assert isinstance(layer, nn.Linear)
    x = torch.rand(2, 3)
    twin = torch.nn.Linear(3, 4)
    y = layer(x)
    assert type(layer) is nn.Linear
    twin.load_state_dict(layer.state_dict())
    torch.testing.assert_close(y, twin(x))
    assert repr(layer) == repr(twin)
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(again(x), y)


@pytest.mark.parametrize("cls", [nn.Linear, Mine, Concrete], ids=lambda cls: cls.__name__)
def test_copies_keep_their_type(cls):
    layer = cls(2, 3)
    for again in (copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(again) is cls
        assert torch.equal(again.weight, layer.weight)
    assert pickle.loads(pickle.dumps(cls)) is cls


def test_the_names_are_torchs():
    import pyneural.nn.functional
    import pyneural.nn.init
    import pyneural.nn.utils.parametrize
    import pyneural.nn.utils.prune
    import pyneural.nn.utils.rnn as rnn
    from pyneural.nn.parameter import Parameter

    assert pyneural.nn.functional is torch.nn.functional
    assert pyneural.nn.init is torch.nn.init
    assert pyneural.nn.utils.parametrize is torch.nn.utils.parametrize
    assert rnn.PackedSequence is torch.nn.utils.rnn.PackedSequence
    assert Parameter is torch.nn.Parameter
    ours, theirs = {}, {}
    exec("from pyneural.nn import *", ours)
    exec("from torch.nn import *", theirs)
    assert theirs.keys() <= ours.keys()
    assert {name for name in theirs if ours[name] is not theirs[name]} == set(REPLACED)
    assert ours["Linear"] is nn.Linear
    assert set(dir(nn)) >= set(REPLACED)
