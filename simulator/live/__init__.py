"""Real processes, files and kernels on one machine, and what is learned from them."""
