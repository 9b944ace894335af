"""How good a model is: detection and segmentation figures, intervals, reports.

The figures need NumPy alone, so a training loop can call them after every epoch.
"""
