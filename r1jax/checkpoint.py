"""Checkpoints of a training stage: asynchronous, sharded, restorable onto another mesh (Orbax v1).

On disk, `FOLDER/<step>/state` holds the arrays of the state as nested dicts with string keys (so any pytree
can be saved; `None` and empty nodes leave no trace) and `FOLDER/<step>/extras` a JSON value (data-iterator
state and the like). A checkpoint appears under its final name only when it is whole: a process killed during
a save leaves a temporary folder, which the next Checkpointer removes.

Order of resume, whoever writes a stage: (1) restore the newest checkpoint, (2) truncate metrics and samples
to its step, (3) set the data iterators from its extras, (4) replay the journal entries from its step on.
For (2) to lose nothing, metrics are flushed *before* the checkpoint of their step is saved.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from orbax.checkpoint import v1 as ocp

from r1jax.errors import UserError
from r1jax.workdir.files import absolute

Names = tuple[str, ...]  # the path of a leaf: ("params", "layers", "attention", "query")

_STATE, _EXTRAS, _SCORE = "state", "extras", "score"
_SHOWN_DIFFERENCES = 8
# Orbax puts this file into the folder of every step.
_STEP_MARKER = "_CHECKPOINT_METADATA"


class CheckpointError(UserError):
    """A checkpoint is missing or does not fit the state it should fill; one line for the user."""


class Checkpointer:
    """The checkpoints of one stage in `folder`: the newest `keep`, and the one with the best score besides.

    Call every method from all processes, from the main thread. Close it (or use it in a `with`) to wait for a
    save under way; a save that failed in the background raises at the next call.
    """

    def __init__(self, folder: epath.PathLike, keep: int):
        self._context = _context(partial=False)
        self._orbax = ocp.training.Checkpointer(
            absolute(folder),
            context=self._context,
            preservation_policy=_NewestAndBest(keep),
            cleanup_tmp_directories=True,
        )

    def save(self, step: int, state: Any, extras: Mapping[str, Any] | None = None, score: float | None = None) -> None:
        """Starts to save `state` (a pytree of jax arrays) as of `step`; first waits for an earlier save.

        As soon as this returns, the arrays may be donated and `extras` (JSON) changed. `score`: higher is
        better; None takes no part in best(). Raises ValueError for a step that is there already, a score that
        is not finite, or a leaf that is not a jax array, and TypeError for extras that are not JSON.
        """
        if score is not None and not math.isfinite(score):
            raise ValueError(f"checkpoint score of step {step}: expected a finite number or None, found {score}")
        if step in self.steps():
            raise ValueError(f"step {step} is already saved in {self._orbax.directory}: save each step once")
        for names, leaf in _leaves(state).items():
            if not isinstance(leaf, jax.Array):
                raise ValueError(f"state {'/'.join(names)}: expected a jax array, found {type(leaf).__name__}")
        # A copy, since Orbax writes the JSON in the background.
        own_extras = json.loads(json.dumps(extras if extras is not None else {}))
        self._orbax.save_checkpointables_async(
            step,
            {_STATE: _nested(_leaves(state)), _EXTRAS: own_extras},
            force=True,  # the stage decides when, not a policy of Orbax
            metrics=None if score is None else {_SCORE: float(score)},
        )

    def steps(self) -> list[int]:
        """The steps saved so far, ascending, the one being saved included."""
        return [checkpoint.step for checkpoint in self._orbax.checkpoints]

    def latest(self) -> int | None:
        """The newest step, None if there is none. Waits for a save under way."""
        self.wait()
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """The step with the highest score (the earliest of equals), None if none has one. Waits likewise."""
        self.wait()
        index = _best_index(self._orbax.checkpoints)
        return None if index is None else self._orbax.checkpoints[index].step

    def restore(self, like: Any, step: int | None = None) -> tuple[Any, Any]:
        """(state, extras) of `step` (None: the newest), each array with the sharding of its leaf in `like`.

        `like`: a pytree of jax.ShapeDtypeStruct (or arrays), of any mesh; a leaf without a sharding goes to
        the default device. Raises CheckpointError where no such step is saved, or where names, shapes or
        dtypes differ, saying which.
        """
        self.wait()
        step = self.latest() if step is None else step
        if step is None or step not in self.steps():
            found = ", ".join(map(str, self.steps())) or "none"
            wanted = "a checkpoint" if step is None else f"step {step}"
            raise CheckpointError(f"{self._orbax.directory}: expected {wanted}, found {found}")
        expected = _leaves(like)
        folder = self._orbax.directory / str(step)
        _compare(folder, _saved_leaves(folder, self._context), expected)
        loaded = self._orbax.load_checkpointables(step, {_STATE: _abstract(expected), _EXTRAS: None})
        return _fill(like, loaded[_STATE]), loaded[_EXTRAS]

    def wait(self) -> None:
        """Returns when no save is under way."""
        self._orbax.wait()

    def close(self) -> None:
        """Waits, then releases what Orbax holds."""
        self._orbax.close()

    def __enter__(self) -> Checkpointer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def restore_params(folder: epath.PathLike, like: Any, step: int | None = None, *, leave: Collection[str] = ()) -> Any:
    """The parameters alone (field `params` of the saved state), with the shardings of `like`.

    `folder`: that of a stage, its `checkpoints` folder, or that of one checkpoint (then `step` must be None).
    `step` None: the newest. Floats are cast to the dtypes of `like`. What the tree has under the names in `leave` is
    not read. Raises CheckpointError as `Checkpointer.restore` does for all else.
    """
    checkpoint = find_checkpoint(folder, step)
    context = _context(partial=True)
    expected = {("params", *names): leaf for names, leaf in _leaves(like).items()}
    saved = {
        n: leaf for n, leaf in _saved_leaves(checkpoint, context).items() if n[0] == "params" and n[1] not in leave
    }
    _compare(checkpoint, saved, expected, cast=True)
    with context:
        loaded = ocp.load_checkpointables(checkpoint, {_STATE: _abstract(expected)})
    return _fill(like, loaded[_STATE]["params"])


def saved_params(folder: epath.PathLike, step: int | None = None) -> set[str]:
    """The names at the top of the tree of saved parameters. Arguments and errors as for `restore_params`."""
    saved = _saved_leaves(find_checkpoint(folder, step), _context(partial=True))
    return {names[1] for names in saved if names[0] == "params"}


def find_checkpoint(folder: epath.PathLike, step: int | None = None) -> epath.Path:
    """The folder of one checkpoint, named by its step. Arguments and errors as for `restore_params`."""
    folder = absolute(folder)
    if (folder / _STEP_MARKER).exists() and step is None:
        return folder
    root = folder / "checkpoints" if (folder / "checkpoints").exists() else folder
    if not root.exists():
        raise CheckpointError(f"{folder}: expected a folder with checkpoints, found no such folder")
    # Orbax knows which are whole: in a bucket that is a file's presence, not the folder's name.
    with ocp.training.Checkpointer(root) as orbax:
        steps = [checkpoint.step for checkpoint in orbax.checkpoints]
    if not steps or (step is not None and step not in steps):
        wanted = "a checkpoint" if step is None else f"step {step}"
        raise CheckpointError(f"{root}: expected {wanted}, found {', '.join(map(str, steps)) or 'none'}")
    return root / str(steps[-1] if step is None else step)


class _NewestAndBest:
    """Orbax's protocol for what to keep: the newest `keep`, and the best."""

    def __init__(self, keep: int):
        self._keep = keep

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        del context
        first_kept, best = len(checkpoints) - self._keep, _best_index(checkpoints)
        return [index >= first_kept or index == best for index in range(len(checkpoints))]


def _best_index(checkpoints: Sequence[Any]) -> int | None:
    """Index of the highest score, the earliest of equals; checkpoints come in ascending steps."""
    scored = [(c.metrics[_SCORE], -index) for index, c in enumerate(checkpoints) if c.metrics]
    return -max(scored)[1] if scored else None


def _context(partial: bool) -> ocp.Context:
    """Extras as JSON whatever they hold; `partial` allows to load a part of the state."""
    registry = ocp.handlers.local_registry()
    registry.add(ocp.handlers.JsonHandler, checkpointable_name=_EXTRAS)
    context = ocp.Context()
    context.checkpointables.registry = registry
    context.pytree.loading.partial_load = partial
    return context


def _leaves(tree: Any) -> dict[Names, Any]:
    """The leaves by their path, each part as a string (integer keys would come back as strings anyway)."""
    with_path, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {tuple(jax.tree_util.keystr((key,), simple=True) for key in path): leaf for path, leaf in with_path}


def _nested(leaves: Mapping[Names, Any]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for (*parents, last), leaf in leaves.items():
        node = root
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = leaf
    return root


def _abstract(leaves: Mapping[Names, Any]) -> dict[str, Any]:
    default = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    def one(leaf: Any) -> jax.ShapeDtypeStruct:
        sharding = leaf.sharding if leaf.sharding is not None else default
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return _nested({names: one(leaf) for names, leaf in leaves.items()})


def _fill(like: Any, nested: Any) -> Any:
    """`like` with its leaves replaced by those of the same path in `nested`."""
    by_path = _leaves(nested)
    return jax.tree.unflatten(jax.tree.structure(like), [by_path[names] for names in _leaves(like)])


def _saved_leaves(folder: epath.Path, context: ocp.Context) -> dict[Names, Any]:
    with context:
        return _leaves(ocp.checkpointables_metadata(folder).metadata[_STATE])


def _describe(leaf: Any) -> str:
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):  # Orbax saves the words of a key
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return f"{leaf.dtype}{list(leaf.shape)}"


def _compare(
    folder: epath.Path, saved: Mapping[Names, Any], expected: Mapping[Names, Any], *, cast: bool = False
) -> None:
    """CheckpointError with what differs: Orbax itself casts dtypes silently and reports shapes obscurely.

    With `cast`, one float may be in place of another.
    """
    lines = [
        *_only_in(saved, expected, "in the checkpoint, not in the state"),
        *_only_in(expected, saved, "in the state, not in the checkpoint"),
    ]
    for names in saved.keys() & expected.keys():
        found, wanted = _describe(saved[names]), _describe(expected[names])
        floats = all(jax.dtypes.issubdtype(tree[names].dtype, np.floating) for tree in (saved, expected))
        if found != wanted and not (cast and floats and saved[names].shape == expected[names].shape):
            lines.append(f"{'/'.join(names)} is {found}, expected {wanted}")
    if lines:
        lines.sort()
        more = len(lines) - _SHOWN_DIFFERENCES
        shown = "; ".join(lines[:_SHOWN_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")
        raise CheckpointError(f"checkpoint {folder} does not fit this run's model and optimizer: {shown}")


def _only_in(these: Mapping[Names, Any], those: Mapping[Names, Any], text: str) -> list[str]:
    """What only `these` have, a whole top-level field (`reference`) in one line."""
    lines = []
    for field in {names[0] for names in these}:
        own = [names for names in these if names[0] == field]
        missing = [names for names in own if names not in those]
        if not any(names[0] == field for names in those):
            lines.append(f"{field} ({len(own)} arrays) is {text}")
        else:
            lines.extend(f"{'/'.join(names)} is {text}" for names in missing)
    return lines
