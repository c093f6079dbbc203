"""Write what each image installs, read from pyproject.toml: what did not change there leaves the big layers alone."""

import re
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ONLY_STAGES = {
    "torch", "torchvision", "timm", "lightly", "faiss-gpu", "scikit-learn", "scipy", "pandas", "threadpoolctl",
    "onnx", "onnxruntime", "onnxscript",
}  # fmt: skip
EXTRAS = ("s3", "onnx", "docker", "kubernetes")  # the last two: workers that start containers

project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
wanted = [*project["dependencies"], *(text for extra in EXTRAS for text in project["optional-dependencies"][extra])]
only_stages = [text for text in wanted if re.split(r"[^A-Za-z0-9._-]", text)[0] in ONLY_STAGES]
(HERE / "stage.txt").write_text("\n".join(only_stages) + "\n", encoding="utf-8")
(HERE / "flow.txt").write_text("\n".join(text for text in wanted if text not in only_stages) + "\n", encoding="utf-8")
