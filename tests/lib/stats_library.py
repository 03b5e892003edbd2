"""stats_library.py - harness/stats.c compiled alone and called through ctypes, for its test and for bench-null."""

import ctypes
import os
import subprocess


class Interval(ctypes.Structure):
    _fields_ = [("estimate", ctypes.c_double), ("low", ctypes.c_double), ("high", ctypes.c_double),
                ("bounded", ctypes.c_bool), ("exact", ctypes.c_bool)]


class Test(ctypes.Structure):
    _fields_ = [("p", ctypes.c_double), ("exact", ctypes.c_bool)]


class Hypothesis(ctypes.Structure):
    _fields_ = [("p", ctypes.c_double), ("q", ctypes.c_double)]


def load(folder):
    """The module as a library, built in the folder."""
    path = os.path.join(folder, "stats.so")
    subprocess.run([os.environ.get("CC", "gcc"), "-std=c11", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", "-I.", "-o", path,
                    "harness/stats.c", "-lm"], check=True, cwd=os.path.join(os.path.dirname(__file__), "..", ".."))
    library = ctypes.CDLL(path)
    for name in ("stats_median", "stats_shift", "stats_shift_between"):
        getattr(library, name).restype = Interval
    for name in ("stats_signed_rank", "stats_rank_sum"):
        getattr(library, name).restype = Test
    library.stats_spread.restype = ctypes.c_double
    return library


def call(function, *samples):
    words = []
    for sample in samples:
        words += [(ctypes.c_double * len(sample))(*sample), ctypes.c_uint(len(sample))]
    return function(*words)
