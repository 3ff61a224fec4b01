"""NumPy's matrix products take one thread, unless OPENBLAS_NUM_THREADS says otherwise.

Imported by programs before NumPy, for this effect. The kernels have the threads. Those of BLAS
would spin beside them, for products that one thread does in less time than it takes to wake
another: on a loaded machine a registration took twice its CPU time.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
