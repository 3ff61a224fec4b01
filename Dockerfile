# syntax=docker/dockerfile:1

# Without a GPU:
#   docker build -t fluoro .
#   docker run --rm -p 127.0.0.1:8080:8080 -v "$PWD/output:/opt/fluoro/output" fluoro
# With an NVIDIA GPU; HOLOSCAN is the full name of NVIDIA's image clara-holoscan/holoscan, with the
# tag v4.6.0-cuda12-dgpu (or v4.6.0-cuda13, and --build-arg CUDA_MAJOR=13):
#   docker build -t fluoro --build-arg BASE_IMAGE="$HOLOSCAN" .
#   docker run --rm --gpus all --ulimit stack=33554432 -p 127.0.0.1:8080:8080 \
#     -v "$PWD/output:/opt/fluoro/output" fluoro
# The console asks for the token in the address that it prints; -e FLUORO_CONSOLE_TOKEN=... fixes it,
# --set console.allowed_hosts names a host by which it is reached (SECURITY.md).
# HoloHub's CLI passes BASE_IMAGE, BASE_SDK_VERSION and CUDA_MAJOR and builds from its own root:
# metadata.json gives it APP_SOURCE.
ARG BASE_IMAGE=python:3.12-slim-bookworm
FROM ${BASE_IMAGE}

ARG CUDA_MAJOR=12
ARG BASE_SDK_VERSION=
ARG APP_SOURCE=.
SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# g++ builds the CPU kernels, slangpy loads libX11. An image whose Python is not supported gets 3.11
# beside it.
# hadolint ignore=DL3008
RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get update \
    && if ! command -v python3 >/dev/null; then \
       apt-get install -y --no-install-recommends python3 python3-venv; fi \
    && supported='sys.version_info[:2] in ((3, 11), (3, 12), (3, 13))' \
    && if python3 -c "import sys, ensurepip; sys.exit(not ${supported})"; then python=(); \
       elif python3 -c "import sys; sys.exit(not ${supported})"; then python=(python3-venv); \
       else python=(python3.11 python3.11-venv); fi \
    && apt-get install -y --no-install-recommends g++ libx11-6 make "${python[@]}" \
    && rm -rf /var/lib/apt/lists/*

# The environment: the same pinned packages as `make run`, made by the same script.
WORKDIR /opt/fluoro
COPY ${APP_SOURCE}/requirements.txt ./
COPY ${APP_SOURCE}/requirements/ requirements/
COPY ${APP_SOURCE}/tools/env/bootstrap.sh tools/
RUN requirements=requirements.txt \
    && if [ "${CUDA_MAJOR}" = 13 ]; then requirements=requirements/cu13.txt; fi \
    && if [ -n "${BASE_SDK_VERSION}" ]; then \
       sed -i "s/^\(holoscan-cu1[23]\)==[0-9.]*/\1==${BASE_SDK_VERSION}/" requirements.txt requirements/*.txt; fi \
    && tools/env/bootstrap.sh /opt/fluoro/venv "${requirements}" \
    && rm -rf /root/.cache

# `python3` is that environment's, also for HoloHub's modes. The image's own SDK stays out of it, but
# HoloHub's `run` puts it back on the path.
ENV PATH=/opt/fluoro/venv/bin:${PATH} \
    PYTHONPATH=""

# HoloHub's CLI enters the container again through its wrapper, as any user: the wrapper's pinned version
# must be installed beside the `python3` on the path. The pattern matches nothing outside HoloHub.
COPY ${APP_SOURCE}/LICENSE holohu[b] /tmp/scripts/
RUN if [ -f /tmp/scripts/holohub ]; then bash /tmp/scripts/holohub env-info; fi

COPY ${APP_SOURCE}/LICENSE ${APP_SOURCE}/README.md ${APP_SOURCE}/app.py ./
COPY ${APP_SOURCE}/configs/ configs/
COPY ${APP_SOURCE}/examples/ examples/
COPY ${APP_SOURCE}/fluoro/ fluoro/
COPY ${APP_SOURCE}/operators/ operators/
COPY ${APP_SOURCE}/shaders/ shaders/

EXPOSE 8080
CMD ["python3", "app.py", "run", "configs/live.yaml", "--set", "console.host=0.0.0.0"]
