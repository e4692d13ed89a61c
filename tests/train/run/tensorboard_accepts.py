"""Read a log directory through TensorBoard itself, as its web server does. Prints what it found as JSON."""
import json
import sys

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.projector import projector_config_pb2
from google.protobuf import text_format

accumulator = event_accumulator.EventAccumulator(
    sys.argv[1], size_guidance={"scalars": 0, "images": 0, "tensors": 0}
)
accumulator.Reload()
tags = accumulator.Tags()
config = projector_config_pb2.ProjectorConfig()
root = sys.argv[1] + "/plugins/org_tensorflow_tensorboard_projector/"
text_format.Parse(open(root + "projector_config.pbtxt").read(), config)
print(json.dumps({
    "scalars": {tag: [[e.step, e.value] for e in accumulator.Scalars(tag)] for tag in tags["scalars"]},
    "images": {tag: [e.step for e in accumulator.Images(tag)] for tag in tags["images"]},
    "tensors": sorted(tags["tensors"]),
    "projections": [e.tensor_name for e in config.embeddings],
}))
