# Install a list of packages, pinned by the constraints; what only installing needs is gone before its layer ends.
set -e
python -m venv /tmp/uv
/tmp/uv/bin/pip install --quiet --no-cache-dir --constraint /opt/constraints.txt uv
/tmp/uv/bin/uv pip install --quiet --no-cache --compile-bytecode --python /opt/puriflow/bin/python \
  --constraint /opt/constraints.txt --build-constraint /opt/constraints.txt --requirement "$1"
rm -rf /tmp/uv ~/.cache
