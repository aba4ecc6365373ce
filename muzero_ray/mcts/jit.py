"""How the search is compiled: the one place that knows numba's options. It compiles nothing itself.

`NUMBA_DISABLE_JIT=1` in the environment turns every kernel into the plain Python that it is written in,
for a debugger.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "_nrt": False, "forceinline": True}
"""Without the GIL, and kept on disk.

`_nrt` (private to numba, but old) leaves out its memory management: otherwise it counts references to every array
and slice that a kernel touches, which makes the search three times slower. Hence a kernel may not allocate.
`forceinline` puts a kernel into those that call it; pUCT's tree takes half of the time then, Gumbel's nine tenths. No
fastmath: searches agree with mctx to the last visit, and NaN from a model is noticed.
"""


def compiled_with(**options: Any) -> Callable[[F], F]:
    """A decorator that compiles a function on its first call, by these options of `numba.njit`."""
    decorator: Callable[[F], F] = numba.njit(**options)
    return decorator


def compiled(function: F) -> F:
    """Compiles a function of the search on its first call."""
    return compiled_with(**OPTIONS)(function)
