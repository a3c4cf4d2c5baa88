"""settings.py: decisions on made-up machines, and their effect in real child processes."""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from ernie_from_scratch.process_setup import MALLOC, MALLOC_VARIABLES, MKL, OPT_OUT, STRIDE, Machine, decide

AMD = Machine("Linux", "AuthenticAMD", True, "glibc 2.36", "paddlepaddle", False)
OURS = (MKL, STRIDE, OPT_OUT, "GLIBC_TUNABLES", *MALLOC_VARIABLES)


def states(machine, environ=None):
    return {setting.name: setting.state for setting in decide(machine, environ or {})}


def test_amd_under_glibc_gets_all_three():
    assert states(AMD) == {MKL: "applied", STRIDE: "applied", MALLOC: "applied"}


@pytest.mark.parametrize(
    ("change", "skipped"),
    [
        ({"cpu_vendor": "GenuineIntel"}, {MKL}),
        ({"has_avx2": False}, {MKL}),
        ({"libc": ""}, {MALLOC}),  # musl
        ({"paddle_build": "paddlepaddle-gpu"}, {STRIDE}),
        ({"paddle_build": ""}, {STRIDE}),
        ({"paddle_imported": True}, {STRIDE}),
        ({"system": "Darwin", "cpu_vendor": "", "has_avx2": False, "libc": ""}, {MKL, MALLOC}),
    ],
)
def test_each_setting_is_skipped_where_it_does_not_help(change, skipped):
    result = states(dataclasses.replace(AMD, **change))
    assert {name for name, state in result.items() if state == "skipped"} == skipped


@pytest.mark.parametrize(
    ("environ", "kept"),
    [
        ({MKL: "4"}, MKL),
        ({STRIDE: "1"}, STRIDE),
        ({"MALLOC_TOP_PAD_": "0"}, MALLOC),
        ({"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4096"}, MALLOC),
    ],
)
def test_what_the_user_set_stays(environ, kept):
    assert {name for name, state in states(AMD, environ).items() if state == "kept"} == {kept}


def test_opt_out_skips_everything():
    assert set(states(AMD, {OPT_OUT: "1"}).values()) == {"skipped"}
    assert states(AMD, {OPT_OUT: "0"}) == states(AMD)


PROBE = """
import json, os, resource, sys
{first}
import ernie_from_scratch as efs
out = {{"state": {{s.name: s.state for s in efs.process_setup.report()}}, "environ": dict(os.environ)}}
if {paddle}:
    import paddle
    view = paddle.ones([2, 3]).transpose([1, 0])
    out["view"] = not view.is_contiguous()
    out["sum"] = float((view + 1).sum())
print(json.dumps(out))
"""


def python(code, **environ):
    """Standard output of `python -c code` in an environment without our settings, plus `environ`."""
    clean = {key: value for key, value in os.environ.items() if key not in OURS}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=clean | environ, capture_output=True, text=True, check=True).stdout


def child(first="", paddle=False, **environ):
    return json.loads(python(PROBE.format(first=first, paddle=paddle), **environ).splitlines()[-1])


def test_stride_flag_reaches_paddle():
    here = Machine.here()
    if here.paddle_build != "paddlepaddle":
        pytest.skip("Paddle's CPU build is not installed")
    assert child(paddle=True)["view"] is False
    assert child(paddle=True, FLAGS_use_stride_kernel="1")["view"] is True


def test_import_after_paddle_does_not_break_views():
    made_before = "import paddle; before = paddle.ones([2, 3]).transpose([1, 0])"
    result = child(first=made_before, paddle=True)
    assert result["state"][STRIDE] == "skipped" and result["sum"] == 12.0


def test_opt_out_leaves_the_environment_alone():
    environ = child(**{OPT_OUT: "1"})["environ"]
    assert MKL not in environ and STRIDE not in environ


def test_report_names_the_state_of_this_process():
    result = child()
    for name in (MKL, STRIDE):
        assert (name in result["environ"]) == (result["state"][name] == "applied")


MALLOC_PROBE = """
import ctypes, resource
import ernie_from_scratch
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
size = 64 << 20
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        block = libc.malloc(size)
        ctypes.memset(block, 1, size)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(not Machine.here().libc, reason="mallopt's thresholds are glibc's")
def test_malloc_keeps_big_blocks():
    """A block of 64 MB, written and freed ten times, needs new pages ten times; with the setting, never."""
    assert int(python(MALLOC_PROBE)) < 100 < int(python(MALLOC_PROBE, **{OPT_OUT: "1"}))


def test_importing_the_frameworks_is_quiet():
    imports = "import ernie_from_scratch, paddle, importlib.util as u\nif u.find_spec('paddlenlp'): import paddlenlp"
    command = [sys.executable, "-W", "default::UserWarning", "-c", imports]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "ccache" not in said and "distutils" not in said and "available" not in said


def test_plain_environment_undoes_the_settings():
    code = "import json, ernie_from_scratch as e; print(json.dumps(e.process_setup.plain_environment()))"
    plain = json.loads(python(code, OMP_NUM_THREADS="1"))
    assert plain[OPT_OUT] == "1" and MKL not in plain and STRIDE not in plain
    assert plain["OMP_NUM_THREADS"] == "1"
