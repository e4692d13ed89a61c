"""What an ONNX file computes, each operator by Python's Torch: an independent reader of the file.

The file is read by onnx where that is there, else by messages that protoc makes of the project's own
list of fields. ONNX Runtime is asked as well where Python has it."""
import importlib
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
import torch.nn.functional as F

PROTO = pathlib.Path(__file__).resolve().parents[3] / "libs/train/model/onnx.proto"


def check(path):
    # In a process of its own: Debian 14's onnx crashes in one that holds PyTorch.
    subprocess.run([sys.executable, "-c", "import sys, onnx; onnx.checker.check_model(sys.argv[1])", str(path)], check=True)


def messages():
    try:
        return importlib.import_module("onnx").ModelProto, check
    except ImportError:
        print("*** PYTHON LACKS onnx: the file is read by the project's own messages ***", file=sys.stderr)
    try:
        importlib.import_module("google.protobuf")
    except ImportError:
        return None, None
    with tempfile.TemporaryDirectory() as place:
        # LITE_RUNTIME has no meaning for Python; the name must not be the package's.
        (pathlib.Path(place) / "wsp_onnx.proto").write_text(PROTO.read_text())
        subprocess.run(["protoc", f"--python_out={place}", f"--proto_path={place}", "wsp_onnx.proto"], check=True)
        sys.path.insert(0, place)
        return importlib.import_module("wsp_onnx_pb2").ModelProto, lambda path: None


def tensor_of(t):
    kind = {1: numpy.float32, 7: numpy.int64, 10: numpy.float16}[t.data_type]
    return torch.from_numpy(numpy.frombuffer(t.raw_data, kind).reshape(tuple(t.dims)).copy())


def attributes_of(node):
    kinds = {1: lambda a: a.f, 2: lambda a: a.i, 3: lambda a: a.s.decode(), 7: lambda a: list(a.ints)}
    return {a.name: kinds[int(a.type)](a) for a in node.attribute}


def resize(x, _roi, scales, mode, coordinate_transformation_mode):
    assert (mode, coordinate_transformation_mode) == ("linear", "half_pixel"), (mode, coordinate_transformation_mode)
    assert scales[:2].tolist() == [1, 1]
    return F.interpolate(x, scale_factor=scales[2:].tolist(), mode="bilinear", align_corners=False)


def convolve(x, w, b=None, kernel_shape=None, pads=(0, 0, 0, 0)):
    assert kernel_shape == list(w.shape[2:]) and len(set(pads)) == 1
    return F.conv2d(x, w, b, padding=pads[0])


def reshape(x, shape):
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(shape.tolist())])


OPERATORS = {
    "AveragePool": lambda x, kernel_shape, strides: F.avg_pool2d(x, kernel_shape, strides),
    "MaxPool": lambda x, kernel_shape, strides: F.max_pool2d(x, kernel_shape, strides),
    "Conv": convolve,
    "ConvTranspose": lambda x, w, b, kernel_shape, strides: F.conv_transpose2d(x, w, b, strides),
    "BatchNormalization": lambda x, s, b, m, v, epsilon: F.batch_norm(x, m, v, s, b, False, 0.0, epsilon),
    "InstanceNormalization": lambda x, s, b, epsilon: F.instance_norm(x, weight=s, bias=b, eps=epsilon),
    "Relu": F.relu,
    "Concat": lambda *x, axis: torch.cat(x, axis),
    "Resize": resize,
    "Cast": lambda x, to: x.to({1: torch.float32}[to]),
    "Shape": lambda x: torch.tensor(x.shape),
    "Reshape": reshape,
    "Mul": torch.mul,
    "Add": torch.add,
}


def compute(path, x):
    """The logits of the ONNX file at `path` for x [n, channels, rows, columns]; none where nothing here reads it."""
    kind, look = messages()
    if kind is None:
        print("*** PYTHON LACKS protobuf AND onnx: the ONNX file was not looked at ***", file=sys.stderr)
        return None
    model = kind()
    model.ParseFromString(pathlib.Path(path).read_bytes())
    look(path)
    assert [o.version for o in model.opset_import] == [13] and model.ir_version == 7
    graph = model.graph
    values = {t.name: tensor_of(t) for t in graph.initializer}
    assert len(values) == len(graph.initializer), "a name twice"
    (entry,), (exit_,) = graph.input, graph.output
    assert [d.dim_value for d in entry.type.tensor_type.shape.dim][1] == x.shape[1]
    values[entry.name], values[""] = x, None
    for node in graph.node:
        (values[node.output[0]],) = [OPERATORS[node.op_type](*(values[i] for i in node.input), **attributes_of(node))]
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError:
        print("*** PYTHON LACKS onnxruntime: it was not asked ***", file=sys.stderr)
        return values[exit_.name]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {entry.name: x.numpy()})
    error = (torch.from_numpy(found) - values[exit_.name]).abs().max().item()
    print(f"ONNX Runtime {onnxruntime.__version__} and the operators one by one: {error:.2e}", file=sys.stderr)
    assert error < 1e-4 * max(1, values[exit_.name].abs().max().item())
    return values[exit_.name]
