"""The real-time process: runs compiled programs in the audio callback, and nothing else."""
