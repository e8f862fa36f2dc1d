"""Ready-made networks and models, one file each, in folders by kind."""

from pyneural.models.adversarial.gan import GAN
from pyneural.models.adversarial.images import ImageDiscriminator, ImageGenerator
from pyneural.models.adversarial.saturation import saturation
from pyneural.models.adversarial.vectors import MLPDiscriminator, MLPGenerator
from pyneural.models.autoencoders.autoencoder import Autoencoder
from pyneural.models.autoencoders.likelihoods import (
    BernoulliLikelihood,
    BinomialLikelihood,
    GaussianLikelihood,
    Likelihood,
)
from pyneural.models.autoencoders.measures import aggregate_posterior
from pyneural.models.autoencoders.variational_autoencoder import VariationalAutoencoder
from pyneural.models.diffusion.ddpm import DDPM
from pyneural.models.diffusion.denoiser import MLPDenoiser
from pyneural.models.diffusion.flow_matching import FlowMatching
from pyneural.models.diffusion.latent import LatentDiffusion
from pyneural.models.diffusion.schedule import NoiseSchedule
from pyneural.models.diffusion.transformer_denoiser import TransformerDenoiser
from pyneural.models.diffusion.unet import UNetDenoiser
from pyneural.models.feedforward.function_fit import fit_function
from pyneural.models.feedforward.image_classifier import (
    ImageClassifier,
    train_image_classifier,
)
from pyneural.models.feedforward.matrix_chain import MatrixChain, best_affine
from pyneural.models.feedforward.perceptron import MultilayerPerceptron
from pyneural.models.feedforward.sparse_network import SparseNetwork
from pyneural.models.flows.act_norm import ActNorm
from pyneural.models.flows.autoregressive import MAF
from pyneural.models.flows.continuous import CNF
from pyneural.models.flows.coupling import NICE, RealNVP
from pyneural.models.flows.distributions import NormalizingFlow
from pyneural.models.flows.flow import Flow
from pyneural.models.flows.gaussianisation import Gaussianisation
from pyneural.models.flows.spline_flows import NCSF, NSF
from pyneural.models.images.image_diffusion import ImageDiffusion
from pyneural.models.images.image_to_image import ImageToImage
from pyneural.models.inference.neural_posterior import NeuralPosterior
from pyneural.models.physics.default_phases import default_phases
from pyneural.models.physics.identification import Identification, identify
from pyneural.models.physics.pinn import PINN
from pyneural.models.physics.regimes import Pendulum, model_pendulum
from pyneural.models.physics.suggested import Solved, solve, suggested_pinn, suggested_training
from pyneural.models.physics.time_windows import TimeWindows
from pyneural.models.physics.unknown_constants import (
    BurgersConstants,
    KdVConstants,
    UnknownConstants,
    known_start_deviations,
    scattered_measurements,
)
from pyneural.models.recurrent.captioner import Captioner
from pyneural.models.recurrent.frame_classifier import FrameClassifier
from pyneural.models.recurrent.recurrent_decoder import RecurrentDecoder, teacher_forced
from pyneural.models.recurrent.sentence_classifier import SentenceClassifier
from pyneural.models.recurrent.sequence_regressor import SequenceRegressor
from pyneural.models.recurrent.simple_rnn import SimpleRNN
from pyneural.models.recurrent.translator import Translator
from pyneural.models.state_space.estimation import fit_by_em, fit_by_likelihood
from pyneural.models.state_space.oscillator import damped_oscillation, pushed_oscillator
from pyneural.models.state_space.state_space_model import StateSpaceModel
from pyneural.models.transformers.patch_transformer import PatchTransformer
from pyneural.models.transformers.transformer_translator import TransformerTranslator
from pyneural.training import Model, Sequential, load_model

__all__ = [
    "CNF",
    "DDPM",
    "GAN",
    "MAF",
    "NCSF",
    "NICE",
    "NSF",
    "PINN",
    "ActNorm",
    "Autoencoder",
    "BernoulliLikelihood",
    "BinomialLikelihood",
    "BurgersConstants",
    "Captioner",
    "Flow",
    "FlowMatching",
    "FrameClassifier",
    "GaussianLikelihood",
    "Gaussianisation",
    "Identification",
    "ImageClassifier",
    "ImageDiffusion",
    "ImageDiscriminator",
    "ImageGenerator",
    "ImageToImage",
    "KdVConstants",
    "LatentDiffusion",
    "Likelihood",
    "MLPDenoiser",
    "MLPDiscriminator",
    "MLPGenerator",
    "MatrixChain",
    "Model",
    "MultilayerPerceptron",
    "NeuralPosterior",
    "NoiseSchedule",
    "NormalizingFlow",
    "PatchTransformer",
    "Pendulum",
    "RealNVP",
    "RecurrentDecoder",
    "SentenceClassifier",
    "SequenceRegressor",
    "Sequential",
    "SimpleRNN",
    "Solved",
    "SparseNetwork",
    "StateSpaceModel",
    "TimeWindows",
    "TransformerDenoiser",
    "TransformerTranslator",
    "Translator",
    "UNetDenoiser",
    "UnknownConstants",
    "VariationalAutoencoder",
    "aggregate_posterior",
    "best_affine",
    "damped_oscillation",
    "default_phases",
    "fit_by_em",
    "fit_by_likelihood",
    "fit_function",
    "identify",
    "known_start_deviations",
    "load_model",
    "model_pendulum",
    "pushed_oscillator",
    "saturation",
    "scattered_measurements",
    "solve",
    "suggested_pinn",
    "suggested_training",
    "teacher_forced",
    "train_image_classifier",
]
