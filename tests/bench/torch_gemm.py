"""PyTorch's side of the matrix products that occur in the passes: forward, to the input, to the weight; a JSON line each."""
import json
import statistics
import sys
import time

import torch

SHAPES = [(768, 128, 384), (768, 128, 128), (768, 128, 512), (768, 512, 128), (768, 128, 65), (2048, 384, 1152),
          (2048, 384, 384), (2048, 384, 1536), (2048, 1536, 384), (2048, 384, 65)]


def main():
    torch.set_num_threads(2)
    seconds = float(sys.argv[1])
    for m, k, n in SHAPES:
        x, w, dy = torch.randn(m, k), torch.randn(n, k), torch.randn(m, n)
        y, dx, dw = torch.empty(m, n), torch.empty(m, k), torch.empty(n, k)
        for what, f in (("forward", lambda: torch.mm(x, w.T, out=y)), ("to_input", lambda: torch.mm(dy, w, out=dx)),
                        ("to_weight", lambda: torch.mm(dy.T, x, out=dw))):
            f(), f()
            times, start = [], time.perf_counter()
            while len(times) < 5 or time.perf_counter() - start < seconds:
                t = time.perf_counter()
                f()
                times.append(time.perf_counter() - t)
            s = statistics.median(times)
            print(json.dumps(dict(what=f"gemm_{what}", shape=f"{m},{k},{n}", ms=s * 1e3, gflops=2 * m * k * n / s / 1e9)))


main()
