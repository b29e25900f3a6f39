"""Files for platforms and for Prometheus: they say what the code says."""
