"""What another library calls a row of reflex-bench's results: torch and FlashInfer, where they can be imported.

A candidate is (peer, note, bytes of a set, maker): maker(i) makes the operands of set i and gives the callable. The note says where
the peer's work differs from ours, which in the first place is the type of the activations: peers want them in the weights' type.
"""

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

try:
    import flashinfer
except Exception:  # it raises more than ImportError where its own dependencies are missing
    flashinfer = None

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}


def rand(*shape, dtype=torch.float16):
    return torch.rand(*shape, device="cuda", dtype=dtype) * 2 - 1


def size(*tensors_shapes, item=2):
    total = 0
    for shape in tensors_shapes:
        count = 1
        for n in shape:
            count *= n
        total += count * item
    return total


def matmul(row):
    dtype = DTYPES.get(row["dtype"])
    if dtype is None:
        return
    m, n, k = (row["shape"][name] for name in "mnk")
    # TF32 would compute another thing.
    torch.backends.cuda.matmul.allow_tf32 = False

    def make(_):
        x, weight = rand(m, k, dtype=dtype), rand(n, k, dtype=dtype)
        return lambda: F.linear(x, weight)

    yield "torch cuBLAS", f"activations {row['dtype']}", size((m, k), (n, k), (m, n), item=dtype.itemsize), make


def sdpa(row, tokens, causal):
    s = row["shape"]
    shapes = [(1, s["q_heads"], tokens, s["head_dim"]), (1, s["kv_heads"], s["keys"], s["head_dim"])]

    def maker(backend):
        def make(_):
            q, k, v = rand(*shapes[0]), rand(*shapes[1]), rand(*shapes[1])

            def call():
                with sdpa_kernel(backend):
                    return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)

            return call

        return make

    total = size(shapes[0], shapes[0], shapes[1], shapes[1])
    yield "torch SDPA flash", "q and y F16", total, maker(SDPBackend.FLASH_ATTENTION)
    yield "torch SDPA cuDNN", "q and y F16", total, maker(SDPBackend.CUDNN_ATTENTION)


def attention_decode(row):
    s = row["shape"]
    yield from sdpa(row, 1, False)
    if flashinfer is None:
        return
    q_shape, kv_shape = (s["q_heads"], s["head_dim"]), (s["keys"], s["kv_heads"], s["head_dim"])

    def maker(tensor_cores):
        def make(_):
            q, k, v = rand(*q_shape), rand(*kv_shape), rand(*kv_shape)
            return lambda: flashinfer.single_decode_with_kv_cache(q, k, v, use_tensor_cores=tensor_cores)

        return make

    total = size(q_shape, q_shape, kv_shape, kv_shape)
    yield "FlashInfer", "q and y F16", total, maker(False)
    yield "FlashInfer tensor cores", "q and y F16", total, maker(True)


def attention(row):
    s = row["shape"]
    # SDPA's causal mask is aligned to the start, ours to the end: the same only without a context before.
    if s["tokens"] == s["keys"]:
        yield from sdpa(row, s["tokens"], True)
    if flashinfer is None:
        return
    q_shape, kv_shape = (s["tokens"], s["q_heads"], s["head_dim"]), (s["keys"], s["kv_heads"], s["head_dim"])

    def make(_):
        q, k, v = rand(*q_shape), rand(*kv_shape), rand(*kv_shape)
        return lambda: flashinfer.single_prefill_with_kv_cache(q, k, v, causal=True)

    yield "FlashInfer", "q and y F16", size(q_shape, q_shape, kv_shape, kv_shape), make


def norm(row):
    dim = row["shape"]["dim"]
    lead = [row["shape"][name] for name in ("rows", "heads") if name in row["shape"]]
    residual = "residual" in row["name"]
    for name, dtype in DTYPES.items():
        item = dtype.itemsize
        shape = (*lead, dim)

        def make_torch(_, shape=shape, dtype=dtype):
            x, weight = rand(*shape, dtype=dtype), rand(dim, dtype=dtype)
            return lambda: F.rms_norm(x, (dim,), weight, 1e-6)

        if not residual and name in ("F16", row["dtype"]):
            yield "torch rms_norm", f"all {name}", size(shape, shape, (dim,), item=item), make_torch
        if flashinfer is None or name != "F16":
            continue
        flat = (torch.Size(lead).numel(), dim)

        def make_flashinfer(_, flat=flat, dtype=dtype):
            x, weight = rand(*flat, dtype=dtype), rand(dim, dtype=dtype)
            if not residual:
                return lambda: flashinfer.norm.rmsnorm(x, weight, 1e-6)
            other = rand(*flat, dtype=dtype)
            return lambda: flashinfer.norm.fused_add_rmsnorm(x, other, weight, 1e-6)

        yield "FlashInfer", f"all {name}", size(*[flat] * (4 if residual else 2), (dim,), item=item), make_flashinfer


def activation(row):
    rows, n = row["shape"]["rows"], row["shape"]["n"]
    if flashinfer is None:
        return
    function = flashinfer.activation.silu_and_mul if row["name"] == "swiglu" else flashinfer.activation.gelu_tanh_and_mul

    def make(_):
        x = rand(rows, 2 * n)
        return lambda: function(x)

    yield "FlashInfer", "all F16", size((rows, 3 * n)), make


def add(row):
    rows, n = row["shape"]["rows"], row["shape"]["n"]
    dtype = DTYPES[row["dtype"]]

    def make(_):
        a, b, y = (rand(rows, n, dtype=dtype) for _ in range(3))
        return lambda: torch.add(a, b, out=y)

    yield "torch add", "", size((rows, 3 * n), item=dtype.itemsize), make


def argmax(row):
    rows, n = row["shape"]["rows"], row["shape"]["n"]
    dtype = DTYPES[row["dtype"]]

    def make(_):
        x = rand(rows, n, dtype=dtype)
        return lambda: torch.argmax(x, dim=-1)

    yield "torch argmax", "", size((rows, n), item=dtype.itemsize), make


CANDIDATES = {f.__name__: f for f in (matmul, attention_decode, attention, norm, activation, add, argmax)}


def versions():
    out = {"torch": torch.__version__, "torch CUDA": torch.version.cuda, "cuDNN": str(torch.backends.cudnn.version())}
    if flashinfer is not None:
        out["FlashInfer"] = flashinfer.__version__
    return out


def candidates(row):
    return CANDIDATES[row["op"]](row) if row["op"] in CANDIDATES else ()
