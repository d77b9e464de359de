"""The real world behind the port: adapters that translate and nothing else."""
