"""From a folder of labelled images to a trained, exported and measured model: one command.

:mod:`~edgevision.finetune.prepare` writes the labels as a training reads them and accounts for every image
and box; :mod:`~edgevision.finetune.recipe` chooses the configuration; :mod:`~edgevision.finetune.budget` how
many images fit into the time; :mod:`~edgevision.finetune.finish` exports, measures and reports the best;
:mod:`~edgevision.finetune.quantise` makes an int8 model of it.
"""
