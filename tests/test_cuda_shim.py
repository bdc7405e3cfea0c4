"""The shim that runs CUDA kernels on the CPU catches what it is there to catch."""

from __future__ import annotations

import cuda_checks as checks
import cuda_shim
import ml_dtypes
import numpy as np
import pytest
import strict_cupy
from cuda_checks import run_source
from hypothesis import given
from hypothesis import strategies as st

KERNEL = 'extern "C" __global__ void f(float* out, long long n) {{ {} }}'


@pytest.fixture(scope="module", autouse=True)
def xp():
    return strict_cupy.make_modules()[0]


def run(xp, body, n=64, grid=(1,), block=(64,), size=None, **kw):
    out = xp.zeros(size or n, "float32")
    run_source(KERNEL.format(body), "f", "float32", grid, block, out, n, **kw)
    return out.get()


# -- what is wrong is an error ---------------------------------------------------------


WRONG = {
    "deadlock: thread 0 waits at __syncthreads .*32 have returned, 32 wait": (
        "if (threadIdx.x < 32) __syncthreads();"
    ),
    "deadlock: thread 0 waits at __syncthreads .test.cu:1.*31 for their warp": (
        "if (threadIdx.x == 0) __syncthreads(); else shuffled(1.0f, 1);"
    ),
    "this barrier was met while thread 0 waits at another": (
        "if (threadIdx.x < 32) { __syncthreads(); } else {\n __syncthreads(); }"
    ),
    "names lane 31, which has returned": (
        "if (threadIdx.x % 32 == 31) return; out[0] = shuffled(1.0f, 1);"
    ),
    "lane 4 calls __shfl_xor_sync with the mask 0000000f, which does not name it": (
        "__shfl_xor_sync(0xfu, 1.0f, 1);"
    ),
    "of lane 3 reads lane 4, which the mask 0000000f does not name": (
        "if (threadIdx.x < 4) __shfl_down_sync(0xfu, 1.0f, 1);"
    ),
    "an access of 16 bytes at an address that is no multiple of it": (
        "store<4>(out + 1, Pack<float, 4>{});"
    ),
    "shared memory is accessed as the device's memory": (
        "__shared__ float all[4]; store<1>(all, Pack<float, 1>{});"
    ),
    "with a width of 12": "__shfl_sync(ALL_LANES, 1.0f, 0, 12);",
}


@pytest.mark.parametrize("schedule", cuda_shim.SCHEDULES)
@pytest.mark.parametrize("said", WRONG)
def test_wrong_kernels(xp, said, schedule):
    exact = schedule == "round-robin"  # others may meet another thread first
    with (
        cuda_shim.schedule(schedule),
        pytest.raises(cuda_shim.ShimError, match=said if exact else "^f, block "),
    ):
        run(xp, WRONG[said], macros={"WIDE": 1})


def test_room_of_the_launch_is_shared_memory_too(xp):
    body = "DYNAMIC_SHARED(float, all); store{}<4>(all, Pack<float, 4>{{}});"
    run(xp, body.format("_shared"), macros={"WIDE": 1}, shared_mem=64)
    with pytest.raises(cuda_shim.ShimError, match="accessed as the device's memory"):
        run(xp, body.format(""), macros={"WIDE": 1}, shared_mem=64)


def test_a_lane_that_is_not_there(xp):
    with pytest.raises(
        cuda_shim.ShimError, match="names lane 20, which the block does"
    ):
        run(xp, "shuffled(1.0f, 1);", block=(20,))


RACE = """
__shared__ float all[64];
all[threadIdx.x] = threadIdx.x;
{}
out[threadIdx.x] = all[{}];
"""


@pytest.mark.parametrize("reads", ["63 - threadIdx.x", "(threadIdx.x + 32) % 64"])
def test_a_dropped_barrier_is_seen(xp, reads):
    right = run(xp, RACE.format("__syncthreads();", reads))
    assert sorted(right) == list(range(64))
    for schedule in cuda_shim.SCHEDULES:
        with cuda_shim.schedule(schedule):
            assert run(xp, RACE.format("__syncthreads();", reads)).tolist() == list(
                right
            )
            assert np.isnan(run(xp, RACE.format("", reads))).any()


def test_shared_memory_is_nan_in_every_block(xp):
    body = """
    __shared__ float kept[3];
    DYNAMIC_SHARED(float, more);
    if (threadIdx.x == 0) {
        out[2 * blockIdx.x] = kept[2];
        out[2 * blockIdx.x + 1] = more[9];
        kept[2] = more[9] = 1.0f;
    }
    """
    assert np.isnan(run(xp, body, 6, grid=(3,), block=(32,), shared_mem=40)).all()


def test_schedules_differ(xp):
    body = "out[n - 1] += 1; out[(int)out[n - 1] - 1] = 100 * blockIdx.x + threadIdx.x;"
    orders = {}
    for schedule in cuda_shim.SCHEDULES:
        with cuda_shim.schedule(schedule):
            order = run(xp, body, 193, grid=(3,), block=(64,))[:192].tolist()
        assert sorted(order) == [100 * b + t for b in range(3) for t in range(64)]
        orders[schedule] = tuple(order)
    assert orders["round-robin"] == orders["warps-up"] == tuple(sorted(order))
    assert len(set(orders.values())) == 4  # (without meetings those two are the same)


# -- what is right is right ------------------------------------------------------------


def test_reductions(xp):
    body = """
    const float mine = (float)((threadIdx.x * 7 + threadIdx.y * 3) % 64);
    const float sum = reduce_row(mine, Sum<float>());
    const Place<float> top = reduce_row(Place<float>{mine, (long long)threadIdx.x},
                                        First<float>());
    if (threadIdx.x == 0) {
        float* to = out + 3 * threadIdx.y;
        to[0] = sum; to[1] = top.value; to[2] = (float)top.index;
    }
    """
    for block in ((8, 16), (16, 8), (32, 4), (64, 2), (64, 4), (256, 1), (512, 1)):
        lanes, rows = block
        got = run(xp, body, 3 * rows, block=block).reshape(rows, 3)
        t = np.arange(lanes)
        for row in range(rows):
            mine = (t * 7 + row * 3) % 64
            assert got[row].tolist() == [mine.sum(), mine.max(), mine.argmax()]


def test_the_first_nan_is_the_largest(xp):
    body = """
    const float x = threadIdx.x % 5 == 3 ? not_a_number<float>() : (float)threadIdx.x;
    const Place<float> top = reduce_row(Place<float>{x, (long long)threadIdx.x},
                                        First<float>());
    out[threadIdx.x] = (float)top.index;
    """
    assert set(run(xp, body)) == {3.0}


def test_warp_functions(xp):
    body = """
    const int lane = threadIdx.x;
    const unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
    out[lane] = (float)__popc(__ballot_sync(half, lane % 3 == 0));
    out[lane + 32] = __shfl_up_sync(ALL_LANES, (float)lane, 2, 8);
    out[lane + 64] = (float)__popc(__match_any_sync(ALL_LANES, lane % 5));
    out[lane + 96] = __shfl_sync(ALL_LANES, (float)lane, 3, 16);
    """
    got = run(xp, body, 128, block=(32,)).reshape(4, 32)
    assert got[0].tolist() == [6.0] * 16 + [5.0] * 16
    assert got[1].tolist() == [k if k % 8 < 2 else k - 2 for k in range(32)]
    assert got[2].tolist() == [7.0 if k % 5 < 2 else 6.0 for k in range(32)]
    assert got[3].tolist() == [3.0] * 16 + [19.0] * 16


@pytest.mark.parametrize("schedule", cuda_shim.SCHEDULES)
def test_atomic_additions(xp, schedule):
    with cuda_shim.schedule(schedule):
        got = run(xp, "atomicAdd(out + threadIdx.x % 3, 1.0f);", 3, grid=(2,))
    assert got.tolist() == [44.0, 42.0, 42.0]


def test_float32_flushes_to_zero_as_cupy_compiles(xp):
    assert run(xp, "out[0] = 1e-38f * (n - 63.5f);", 64)[0] == 0.0
    assert np.float32(1e-38) * np.float32(0.5) > 0  # and only while a kernel runs


WIDEN = """
extern "C" __global__ void f(const T* x, W* out) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = widen(x[i]);
}
extern "C" __global__ void g(const W* x, T* out) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    out[i] = narrow<T>(x[i]);
}
"""


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_numbers(xp, dtype):
    """All of them; but bfloat16's subnormals are float32's, which are flushed."""
    bits = np.arange(2**16, dtype=np.uint16)
    x = bits.view(checks.dtype_of(dtype))
    got = xp.zeros(2**16, "float32")
    run_source(WIDEN, "f", dtype, (256,), (256,), xp.asarray(x), got)
    with np.errstate(all="ignore"):
        expected = x.astype("float32")
    np.testing.assert_array_equal(got.get(), expected)

    with np.errstate(all="ignore"):
        middle = (expected[1:] + expected[:-1]) / 2  # ties
        each = [
            expected,
            middle,
            np.nextafter(middle, np.float32(0)),
            middle * 1.0000001,
        ]
        floats = np.concatenate(each).astype("float32")
        floats[abs(floats) < 1.2e-38] = 0.0
        floats = np.resize(floats, 256 * 1024)
        expected = floats.astype(checks.dtype_of(dtype))
    got = xp.zeros(len(floats), checks.dtype_of(dtype))
    run_source(WIDEN, "g", dtype, (1024,), (256,), xp.asarray(floats), got)
    both = got.get()
    nan = np.isnan(expected)
    assert np.isnan(both[nan]).all()
    np.testing.assert_array_equal(both.view("u2")[~nan], expected.view("u2")[~nan])


# -- what CuPy would pass on is refused ------------------------------------------------


SIGNATURE = """
extern "C" __global__ void __launch_bounds__(64) f(
    const float* __restrict__ x, int a, float b, long long c, double d) {}
"""


def test_arguments(xp):
    x, one = xp.zeros(4, "float32"), np.int32(1)
    good = (x, one, np.float32(1), 1, 1.0)

    def call(*args, grid=(1,), block=(64,), **kw):
        run_source(SIGNATURE, "f", "float32", grid, block, *args, **kw)

    call(*good)
    call(None, *good[1:])
    for i, wrong in (
        (0, xp.zeros(4, "float64")),
        (0, np.zeros(4, "float32")),
        (0, 1),
        (1, 1),
        (2, 1.0),
        (2, np.float64(1)),
        (3, one),
        (3, 1.0),
        (3, True),
        (4, 1),
        (4, np.float32(1)),
    ):
        with pytest.raises(TypeError, match=f"f, argument {i}"):
            call(*good[:i], wrong, *good[i + 1 :])
    with pytest.raises(TypeError, match="5 parameters"):
        call(*good[:-1])
    with pytest.raises(ValueError, match="strides"):
        call(xp.zeros((4, 2), "float32")[:, 0], *good[1:])
    with xp.cuda.Device(1), pytest.raises(ValueError, match="different"):
        call(*good)
    for shape in ({"grid": (0,)}, {"block": (65,)}, {"block": (4, 4, 65)}):
        with pytest.raises(strict_cupy.CUDARuntimeError):
            call(*good, **shape)
    with pytest.raises(strict_cupy.CUDARuntimeError, match="not allowed"):
        call(*good, shared_mem=50_000)


def test_more_shared_memory_is_asked_for_on_each_device(xp):
    from tinygrad_softmax.backends.cuda.kernels import Kernel

    module = xp.RawModule(
        code=checks.source(KERNEL.format("")),
        options=checks.kernels.options("float32", {}),
    )
    kernel = Kernel(module.get_function("f"), xp.cuda.runtime.getDevice)
    for device in (0, 1):
        with xp.cuda.Device(device):
            kernel((1,), (32,), (xp.zeros(1, "float32"), 1), shared=200_000)
    with pytest.raises(strict_cupy.CUDARuntimeError):
        kernel((1,), (32,), (xp.zeros(1, "float32"), 1), shared=240_000)


def test_what_a_kernel_declares_is_counted_too(xp):
    """Near 48 KB, which a launch may have without asking, and near the limit."""
    from tinygrad_softmax.backends.cuda import geometry
    from tinygrad_softmax.backends.cuda.kernels import Kernel

    body = "__shared__ float some[64]; some[threadIdx.x] = 0; out[0] = some[0];"
    module = xp.RawModule(
        code=checks.source(KERNEL.format(body)),
        options=checks.kernels.options("float32", {}),
    )
    raw, arguments = module.get_function("f"), (xp.zeros(1, "float32"), 1)
    raw((1,), (32,), arguments, shared_mem=48 * 1024 - 512)
    with pytest.raises(strict_cupy.CUDARuntimeError, match="not allowed"):
        raw((1,), (32,), arguments, shared_mem=48 * 1024)
    kernel = Kernel(raw, xp.cuda.runtime.getDevice)
    kernel((1,), (32,), arguments, shared=48 * 1024)
    kernel((1,), (32,), arguments, shared=227 * 1024 - geometry.STATIC)
    with pytest.raises(strict_cupy.CUDARuntimeError, match="INVALID_VALUE"):
        kernel((1,), (32,), arguments, shared=227 * 1024)


def test_a_source_that_can_not_be_compiled(monkeypatch):
    broken = checks.source("nonsense;")
    monkeypatch.setattr(checks.kernels, "code", lambda file: broken)
    said = "kernels of softmax.cu could not be compiled for float32 .*says:\ntest.cu:1:"
    with (
        checks.kernels_on_the_cpu() as backend,
        pytest.raises(RuntimeError, match=said),
    ):
        backend.softmax(backend.xp.ones((2, 3), "float32"))


@given(st.integers(-(2**31), 2**31 - 1))
def test_bfloat16_is_to_the_nearest(bits):
    """Against ml_dtypes, for any float32 that is not flushed."""
    x = np.array([bits], np.int32).view(np.float32)
    if not 1.2e-38 < abs(x[0]) < np.inf:
        return
    xp = strict_cupy.make_modules()[0]
    got = xp.zeros(1, ml_dtypes.bfloat16)
    run_source(WIDEN, "g", "bfloat16", (1,), (1,), xp.asarray(x), got)
    with np.errstate(all="ignore"):
        assert got.get()[0] == x.astype(ml_dtypes.bfloat16)[0]


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    """What is in it would be run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cuda_shim.os, "getuid", lambda: 12345)
    with pytest.raises(cuda_shim.ShimError, match="another user's; mend: set XDG"):
        cuda_shim.library.__wrapped__("", ())
