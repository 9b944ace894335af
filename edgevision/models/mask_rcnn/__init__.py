"""Mask R-CNN (He et al. 2017, arXiv:1703.06870): a Faster R-CNN that draws the shape of each object too."""
