# fluoro: a real-time X-ray C-arm. Targets:
#
# make run         the main job: a phantom under a sweeping C-arm (configs/sweep.yaml)
# make live        the console drives the C-arm, at a printed address (configs/live.yaml)
# make test        the tests, 8 minutes on 2 idle cores (ROOM=imaging: those of tests/imaging)
#
# make hil         20 s of a robot that moves the C-arm over DDS, in a process of its own; then the table
#                  of latencies, 90 s in all (longer and steadier: ARGS="--seconds 8 --repeat 3")
# make hil-servo   a robot in a process of its own finds a view by its images, over DDS
# make test-all    the slow tests too
# make lint        ruff, mypy, import-linter, codespell, phrases, hadolint
# make soak        robot and simulator for two minutes, their memory watched
# make bench       fluoro's speed beside its peers, at most 15 minutes (ARGS="--minutes N": in N); fetches
#                  the CT and the peers before, once
# make bench-quick fluoro's speed alone, at most 2 minutes
# make peers       poses of nanodrr, DiffDRR and RTK against these programs as installed, and data sets
#                  against DiffDRR's own loader (1 to 4 GB, once)
# make peers-rtk   reconstructs a rotational run with RTK's FDK, in an environment of itk-rtk alone (200 MB, once)
# make cuda-check  compiles every kernel for an NVIDIA GPU, on a machine without one; 130 MB, once
# make gpu         the tests and benchmarks that need an NVIDIA GPU
# make lock        writes requirements/constraints.txt
# make clean       removes caches; make distclean: the environments too
#
# CUDA=13 takes the CUDA 13 packages instead of those for CUDA 12 (which also serve without a GPU).
# PYTHON=... names the interpreter (3.11, 3.12 or 3.13). ARGS="..." goes on to app.py or pytest.

.DEFAULT_GOAL := help

CUDA ?= 12
ifeq ($(CUDA),12)
VENV := .venv
REQUIREMENTS := requirements.txt
else ifeq ($(CUDA),13)
VENV := .venv-cu13
REQUIREMENTS := requirements/cu13.txt
else
$(error CUDA must be 12 or 13, got $(CUDA))
endif
PY := $(VENV)/bin/python
# threads of BLAS would spin beside those of the kernels
export OPENBLAS_NUM_THREADS ?= 1
unexport PYTHONDONTWRITEBYTECODE # tests start some hundred programs: each would compile all modules again
ROOMS := $(sort $(patsubst tests/%/,%,$(dir $(wildcard tests/*/test_*.py))))
ifneq ($(filter-out $(ROOMS),$(ROOM)),)
$(error ROOM must be one of $(ROOMS), got $(ROOM))
endif
export PYTHON

.PHONY: help run live hil hil-servo soak test test-all lint bench bench-quick peers peers-rtk cuda-check gpu env env-dev lock clean distclean

help:
	@sed -n '/^# fluoro/,/^$$/ s/^# \{0,1\}//p' Makefile

run: env
	$(PY) app.py run configs/sweep.yaml $(ARGS)

live: env
	$(PY) app.py run configs/live.yaml $(ARGS)

hil: env
	$(PY) benchmarks/latency.py $(ARGS)

hil-servo: env
	$(PY) examples/robot_servo.py --with-simulator configs/robot_servo.yaml $(ARGS)

soak: env
	$(PY) tools/check/soak.py $(ARGS)

# One process more than the 2 cores of continuous integration: many tests wait for a browser, a stream, DDS.
test: env-dev
	$(PY) -m pytest -n 3 --dist loadfile -m "not slow and not gpu" $(addprefix tests/,$(ROOM)) $(ARGS)

test-all: env-dev
	$(PY) -m pytest $(ARGS)

lint: env-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --strict fluoro
	$(PY) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"
	$(PY) -m codespell_lib
	$(PY) tools/check/phrases.py
	$(VENV)/bin/hadolint Dockerfile

bench: env-dev
	$(PY) app.py fetch chest-ct
	$(PY) benchmarks/suite.py $(ARGS)

bench-quick: env-dev
	$(PY) app.py fetch chest-ct
	$(PY) benchmarks/suite.py --quick $(ARGS)

peers: env-dev
	$(PY) -c "from benchmarks.harness.peers import make_environment; make_environment()"
	FLUORO_REQUIRE_PEERS=1 $(PY) -m pytest -m peers tests/geometry/test_converters.py tests/datasets/test_published_files.py $(ARGS)

peers-rtk: env-dev
	test -x benchmarks/.venv-rtk/bin/python || $(PY) -m venv benchmarks/.venv-rtk
	benchmarks/.venv-rtk/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/peers/rtk_requirements.txt
	FLUORO_REQUIRE_PEERS=1 $(PY) -m pytest -m peers tests/recording/test_cbct.py $(ARGS)

cuda-check: env
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements/cuda_check.txt
	$(PY) tools/check/check_cuda.py

gpu: env-dev
	$(PY) benchmarks/gpu.py $(ARGS)

env:
	@tools/env/bootstrap.sh $(VENV) $(REQUIREMENTS)

env-dev:
	@tools/env/bootstrap.sh $(VENV) $(REQUIREMENTS) requirements/dev.txt

lock: env
	$(PY) tools/env/lock.py

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find app.py operators fluoro tests tools benchmarks examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean
	rm -rf .venv .venv-cu13 benchmarks/.venv-peers benchmarks/.venv-rtk
