"""What the library costs, beside peers that do the same work in the same run. `python -m benchmarks` runs all."""
