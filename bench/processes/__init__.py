"""What is measured. A module is a process: `python -m bench.processes.<name>`, printing one line of JSON."""
