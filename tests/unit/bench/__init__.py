"""The harness of the benchmarks: what it reads and refuses, never how fast anything is."""
