"""Ready-made networks and models, one file each."""

from pyneural.models.autoencoder import Autoencoder
from pyneural.models.captioner import Captioner
from pyneural.models.finite_differences import finite_differences
from pyneural.models.frame_classifier import FrameClassifier
from pyneural.models.function_fit import fit_function
from pyneural.models.matrix_chain import MatrixChain, best_affine
from pyneural.models.oscillator import damped_oscillation, pushed_oscillator
from pyneural.models.patch_transformer import PatchTransformer
from pyneural.models.perceptron import MultilayerPerceptron
from pyneural.models.pinn import PINN
from pyneural.models.recurrent_decoder import RecurrentDecoder, teacher_forced
from pyneural.models.sentence_classifier import SentenceClassifier
from pyneural.models.sequence_regressor import SequenceRegressor
from pyneural.models.simple_rnn import SimpleRNN
from pyneural.models.sparse_network import SparseNetwork
from pyneural.models.state_space import StateSpaceModel
from pyneural.models.state_space_fit import fit_by_em, fit_by_likelihood
from pyneural.models.training_faults import TRAINING_FAULTS
from pyneural.models.transformer_translator import TransformerTranslator
from pyneural.models.translator import Translator
from pyneural.training import Model, Sequential, load_model

__all__ = [
    "PINN",
    "TRAINING_FAULTS",
    "Autoencoder",
    "Captioner",
    "FrameClassifier",
    "MatrixChain",
    "Model",
    "MultilayerPerceptron",
    "PatchTransformer",
    "RecurrentDecoder",
    "SentenceClassifier",
    "SequenceRegressor",
    "Sequential",
    "SimpleRNN",
    "SparseNetwork",
    "StateSpaceModel",
    "TransformerTranslator",
    "Translator",
    "best_affine",
    "damped_oscillation",
    "finite_differences",
    "fit_by_em",
    "fit_by_likelihood",
    "fit_function",
    "load_model",
    "pushed_oscillator",
    "teacher_forced",
]
