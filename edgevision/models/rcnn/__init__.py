"""R-CNN (Girshick et al. 2014, arXiv:1311.2524): a classifier on crops of the regions of selective search."""
