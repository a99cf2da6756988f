"""The parts of ``measure_speed.py``: slow networks and reference, the check that they compute the same, the bench."""
