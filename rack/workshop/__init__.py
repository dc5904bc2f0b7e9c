"""The warm worker: turns boxes into compiled programs."""
