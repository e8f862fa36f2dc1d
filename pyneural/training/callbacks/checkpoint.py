"""The whole state of a training in a file, so that it goes on with the same bits."""

import os
import time
import warnings
from pathlib import Path

from pyneural.training.callback import NEVER, Callback
from pyneural.training.checks import check
from pyneural.training.paths import check_file
from pyneural.training.run import Run
from pyneural.training.state import file, stateful

_LAYOUT = 3  # of the record; 1 was that of pyneural 0.1


class Checkpoint(Callback):
    """Writes what ``Run.state_dict`` says every so many seconds, at a pause and at the end.

    ``fit(checkpoint=...)`` makes one; it is the last of the callbacks.

    Args:
        path: of the file, ``*.safetensors``; OSError if it cannot be written, or is a folder.
        every: seconds between two, >= 0; 0 writes one after each step. Several processes write
            only after epochs.
        each_epoch: whether one is written after each epoch, too.
        where: the function that the user called, for the text of errors.
    """

    in_checkpoint = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: float = 10.0,
        each_epoch: bool = False,
        where: str = "fit",
    ) -> None:
        self.path, self.every, self.each_epoch = Path(path), every, each_epoch
        check(every >= 0, f"{where}: every", "seconds >= 0", every)
        check_file(self.path, f"{where}: checkpoint")
        self.saved = "no checkpoint was written"
        self._next = 0.0
        self._steps: int | None = None  # at which the last one was written

    def exists(self) -> bool:
        """Whether there is one to go on from."""
        return self.path.exists() or file.previous_path(self.path).exists()

    def load(self, run: Run, where: str) -> None:
        """Lets a run go on from the last good checkpoint; warns if the last one is damaged.

        CheckpointError if there is none, or if it is of another training or version.
        """
        tensors, record, refused = file.load_checkpoint(self.path)
        for text in refused:
            warnings.warn(f"{text}; the one before it is used", stacklevel=2)
        if record.get("layout") != _LAYOUT:
            raise file.CheckpointError(
                f"{where}: expected a checkpoint of this version of pyneural, got {self.path} "
                "of another one, or a saved model; start without resuming"
            )
        what, remedy = f"the state of a training in {self.path}", "start without resuming"
        with file.refused_as_checkpoint(where, what, remedy):
            saved, mine = record["config"], run.config()
            gone = {name: "nothing" for name in saved if name.startswith("phase")}
            for name, value in {**gone, **mine}.items():
                if name in saved and saved[name] != value:
                    raise file.CheckpointError(
                        f"{where}: {name}: expected {saved[name]}, as in {self.path}, got "
                        f"{value}; use the options of the first run, or start without resuming"
                    )
            run.load_state_dict(stateful.join(record["state"], tensors))
        self.saved = f"the last good checkpoint is {self.path}, step {run.steps}"

    def attach(self, run: Run) -> None:
        """Notes the options of the run, before callbacks change some."""
        super().attach(run)
        self._config = run.config()

    def on_train_begin(self) -> None:
        """Sets the time of the next one."""
        self._next = time.perf_counter() + self.every
        # The clocks of several processes differ, and each save is one of all of them.
        self.due = self._next if self.run.process_group.size == 1 else NEVER

    def on_due(self) -> None:
        """Writes one, unless the state is in doubt; where that fails, warns, and goes on."""
        if self.run.in_doubt:
            self.on_train_begin()
            return
        state = self.run.state_dict()
        self.on_train_begin()
        self._steps = self.run.steps
        if not self.run.process_group.writes:
            return
        plain, tensors = stateful.split(state)
        record = {"layout": _LAYOUT, "config": self._config, "state": plain}
        try:
            file.save_checkpoint(self.path, tensors, record)
            self.saved = f"the last good checkpoint is {self.path}, step {self._steps}"
        except OSError as error:
            warnings.warn(f"checkpoint: {self.path} was not written ({error})", stacklevel=2)

    def on_checkpoint(self, final: bool) -> None:
        """Writes one, if it is time or the end."""
        group = self.run.process_group
        late = group.size > 1 and group.any(time.perf_counter() >= self._next, self.run.device)
        wanted = final or self.each_epoch or late
        if wanted and not (final and self._steps == self.run.steps):
            self.on_due()
