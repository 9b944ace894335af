"""Faster R-CNN (Ren et al. 2015, arXiv:1506.01497) on a pyramid (Lin et al. 2017, arXiv:1612.03144)."""
