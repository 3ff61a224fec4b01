# syntax=docker/dockerfile:1

# Without a GPU:
#   docker build -t fluoro .
#   docker run --rm -p 127.0.0.1:8080:8080 -v "$PWD/output:/opt/fluoro/output" fluoro
# With an NVIDIA GPU; HOLOSCAN is the full name of NVIDIA's image clara-holoscan/holoscan, with the
# tag v4.6.0-cuda12-dgpu (or v4.6.0-cuda13, and --build-arg CUDA=13):
#   docker build -t fluoro --build-arg BASE_IMAGE="$HOLOSCAN" .
#   docker run --rm --gpus all --ulimit stack=33554432 -p 127.0.0.1:8080:8080 \
#     -v "$PWD/output:/opt/fluoro/output" fluoro
# HoloHub hands in BASE_IMAGE and builds from its own root: metadata.json gives it APP_SOURCE.
ARG BASE_IMAGE=python:3.12-slim-bookworm
FROM ${BASE_IMAGE}

ARG CUDA=12
ARG APP_SOURCE=.
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
COPY ${APP_SOURCE}/requirements.txt ./
COPY ${APP_SOURCE}/requirements/ requirements/
COPY ${APP_SOURCE}/tools/bootstrap.sh tools/
RUN requirements=requirements.txt \
    && if [ "${CUDA}" = 13 ]; then requirements=requirements/cu13.txt; fi \
    && tools/bootstrap.sh /opt/fluoro/venv "${requirements}" \
    && rm -rf /root/.cache

# `python3` is that environment's, also for HoloHub's modes. The image's own SDK stays out of it, but
# HoloHub's `run` puts it back on the path.
ENV PATH=/opt/fluoro/venv/bin:${PATH} \
    PYTHONPATH=""

COPY ${APP_SOURCE}/LICENSE ${APP_SOURCE}/README.md ${APP_SOURCE}/app.py ./
COPY ${APP_SOURCE}/configs/ configs/
COPY ${APP_SOURCE}/examples/ examples/
COPY ${APP_SOURCE}/fluoro/ fluoro/
COPY ${APP_SOURCE}/operators/ operators/
COPY ${APP_SOURCE}/shaders/ shaders/

EXPOSE 8080
CMD ["python3", "app.py", "run", "configs/live.yaml", "--set", "console.host=0.0.0.0"]
