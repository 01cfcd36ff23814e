"""Writes the weights of a Hugging Face folder as a checkpoint, once, for a bucket: safetensors cannot be read there.

python experiments/convert.py --folder=DIR --output=gs://BUCKET/NAME [--fsdp=4 --tensor=2]

The checkpoint (float32) restores onto any mesh; `stages.NAME.start=gs://BUCKET/NAME` starts from it. config.json and
the tokenizer's files are put beside it.
"""

import sys

import jax
from absl import flags
from etils import epath

from r1jax.checkpoint import Checkpointer
from r1jax.config import MeshConfig
from r1jax.launch import one_line_errors, prepare_jax
from r1jax.models import decoder
from r1jax.models.huggingface.exporter import copy_texts
from r1jax.models.huggingface.importer import load_params, read_model
from r1jax.models.huggingface.tensor_files import WeightsError
from r1jax.parallel import hosts
from r1jax.parallel.mesh import make_mesh
from r1jax.parallel.rules import shardings

FOLDER = flags.DEFINE_string("folder", None, "Hugging Face folder, on a local disk of every process", required=True)
OUTPUT = flags.DEFINE_string("output", None, "folder of the checkpoint, local or gs://...; empty or new", required=True)
FSDP = flags.DEFINE_integer("fsdp", None, "devices that share the model's width (none: those the other axes leave)")
EXPERT = flags.DEFINE_integer("expert", 1, "devices that share the experts")
TENSOR = flags.DEFINE_integer("tensor", 1, "devices that share heads, feed-forwards and vocabulary")


def main() -> None:
    with one_line_errors():
        flags.FLAGS(sys.argv)
        prepare_jax()
        output = epath.Path(OUTPUT.value)
        if output.exists() and any(output.iterdir()):
            raise WeightsError(f"{output}: expected a folder that is empty or not there, found something in it")
        hosts.barrier("output is new")
        model = read_model(FOLDER.value)
        mesh = make_mesh(MeshConfig(data=1, fsdp=FSDP.value, expert=EXPERT.value, tensor=TENSOR.value))
        shapes = decoder.param_shapes(model)
        places = shardings(decoder.param_dims(model), shapes, mesh)
        like = jax.tree.map(lambda leaf, place: leaf.update(sharding=place), shapes, places)
        params = load_params(FOLDER.value, model, like)
        with Checkpointer(output, keep=1) as checkpoints:
            checkpoints.save(0, {"params": params})
        if hosts.is_main():
            copy_texts(FOLDER.value, output)
    print(f"converted: {output}")


if __name__ == "__main__":
    main()
