"""Fast R-CNN (Girshick 2015, arXiv:1504.08083): one network looks at regions that selective search finds."""
