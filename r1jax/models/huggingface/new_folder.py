"""A folder that is whole when it appears, and that others may read."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator, Mapping

import numpy as np
from etils import epath
from safetensors.numpy import save_file

from r1jax.models.huggingface.errors import WeightsError
from r1jax.parallel import hosts
from r1jax.workdir.files import is_remote


@contextlib.contextmanager
def new_folder(folder: epath.PathLike) -> Iterator[pathlib.Path]:
    """Where the first process is to write what `folder` will hold; at the block's end it is given that name.

    All processes enter it. An error in the block leaves nothing behind; what a killed process left is replaced.

    Raises:
      WeightsError: `folder` is in a bucket, or has something in it.
    """
    if is_remote(epath.Path(folder)):
        raise WeightsError(f"{folder}: expected a local folder (safetensors are not written to buckets); copy it then")
    folder = pathlib.Path(folder).resolve()  # "." has no name that another could be made from
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WeightsError(f"{folder}: expected a folder that is empty or not there, found something in it")
    hosts.barrier("the folder is new")  # to all, before the first of them makes it
    unfinished = folder.with_name(f".{folder.name}.unfinished")  # beside it, for a rename to be possible
    try:
        if hosts.is_main():
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
        yield unfinished
        if hosts.is_main():
            unfinished.replace(folder)
    except BaseException:
        if hosts.is_main():
            shutil.rmtree(unfinished, ignore_errors=True)
        raise
    hosts.barrier("the folder is written")


def write_tensors(file: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
    """One safetensors file, to be read by whoever may read its folder."""
    save_file(dict(tensors), file, metadata={"format": "pt"})
    file.chmod(file.parent.stat().st_mode & 0o666)  # the library lets nobody but the owner read it
