"""What is measured, each figure as a ratio to a floor measured in the same run. `python -m bench --help`."""
