"""Faults to plant, so that each figure of reliability is seen to turn red."""
