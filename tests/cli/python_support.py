"""What the tests of the Python package share: the package of this build, datasets, what is refused."""
import os
import pathlib
import pickle
import subprocess
import sys
import warnings

import support

PACKAGE = pathlib.Path(os.environ["WSP_BINARY_DIR"]) / "python"
if not list((PACKAGE / "wsp").glob("_native*.so")):
    support.skip("the Python package is not built: install pybind11-dev and python3-dev, and configure again")
support.require("numpy")
sys.path.insert(0, str(PACKAGE))

import wsp  # noqa: E402

assert "torch" not in sys.modules, "import wsp loads PyTorch"
warnings.simplefilter("ignore", UserWarning)  # small cohorts repeat their subjects; one check hears it
scratch = support.temporary()
root = pathlib.Path(scratch.name)


def dataset(name, *arguments):
    subprocess.run([os.environ["WSP_BINARY_DIR"] + "/tests/train/support/make_train_dataset", root / name, *map(str, arguments)], check=True)
    return root / name


def refused(code, words, call):
    try:
        call()
    except wsp.Error as e:
        assert e.code == code and words in str(e), (code, words, e.code, str(e))
        back = pickle.loads(pickle.dumps(e))
        assert (back.code, str(back)) == (e.code, str(e))
        return
    raise AssertionError(f"not refused: expected {code}, {words}")


def have(*modules):
    """Whether optional modules are there; says loudly what is left out where not."""
    for module in modules:
        try:
            __import__(module)
        except ImportError:
            print(f"*** PARTLY SKIPPED: python3-{module} is not installed ***", file=sys.stderr)
            return False
    return True
