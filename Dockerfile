# syntax=docker/dockerfile:1

# With an NVIDIA GPU (HoloHub hands in BASE_IMAGE; the default is the Holoscan image for CUDA 12):
#   docker build -t fluoro .
#   docker run --rm --gpus all --ulimit stack=33554432 -p 127.0.0.1:8080:8080 fluoro
# With CUDA 13:
#   docker build -t fluoro --build-arg CUDA=13 \
#     --build-arg BASE_IMAGE=nvcr.io/nvidia/clara-holoscan/holoscan:v4.6.0-cuda13 .
# Without a GPU:
#   docker build -t fluoro --build-arg BASE_IMAGE=python:3.12-slim-bookworm .
ARG BASE_IMAGE=nvcr.io/nvidia/clara-holoscan/holoscan:v4.6.0-cuda12-dgpu
FROM ${BASE_IMAGE}

ARG CUDA=12
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# g++ builds the CPU kernels; an image whose Python is neither 3.11 nor 3.12 gets 3.11 beside it.
# hadolint ignore=DL3008
RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get update \
    && supported='import sys, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
    && if python3 -c "${supported}"; then python=(); \
       elif python3 -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))'; \
       then python=(python3-venv); \
       else python=(python3.11 python3.11-venv); fi \
    && apt-get install -y --no-install-recommends g++ make "${python[@]}" \
    && rm -rf /var/lib/apt/lists/*

# The environment: the same pinned packages as `make run`, made by the same script.
WORKDIR /opt/fluoro
COPY requirements.txt ./
COPY requirements/ requirements/
COPY tools/bootstrap.sh tools/
RUN requirements=requirements.txt \
    && if [ "${CUDA}" = 13 ]; then requirements=requirements/cu13.txt; fi \
    && tools/bootstrap.sh /opt/fluoro/venv "${requirements}" \
    && rm -rf /root/.cache

# `python3` is that environment's, also for HoloHub's modes, and the image's own SDK stays out of it.
ENV PATH=/opt/fluoro/venv/bin:${PATH} \
    PYTHONPATH="" \
    FLUORO_CACHE_DIR=/var/cache/fluoro \
    FLUORO_OUTPUT_DIR=/output

COPY LICENSE README.md app.py ./
COPY configs/ configs/
COPY examples/ examples/
COPY fluoro/ fluoro/
COPY operators/ operators/
COPY shaders/ shaders/

EXPOSE 8080
CMD ["python3", "app.py", "run", "configs/live.yaml", "--set", "console.host=0.0.0.0"]
