"""The warm-up of beta, the weight of the divergence of a variational autoencoder."""

from pyneural.training.callbacks import Callback


class BetaWarmUp(Callback):
    """Counts the steps or epochs of a model's warm-up; the count is in the model's state."""

    in_checkpoint = False

    def on_train_batch_end(self) -> None:
        """Counts a step."""
        self._count("step")

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Counts an epoch."""
        self._count("epoch")

    def _count(self, unit: str) -> None:
        model = self.run.model
        if model.unit == unit and model.term_weights["kl"] < model.beta:
            model.updates += 1
            model.set_beta()
            self.run.objective_changed()
