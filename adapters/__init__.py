"""Conformal pseudo-labels in existing training code: one module a host, imported by its name.

``fixmatch``, ``unimatch``, ``unimatch_v2``, ``corrmatch`` and ``allspark`` each hold a host's term,
the loop object that its script is given, and the recipe of that edit. ``source`` is for the scripts
of all others, whose labels are replaced where they are made. What they share:
``host_config`` reads the options in a host's YAML, ``aligned`` carries pseudo-labels through the
host's own augmentations, ``host_loop`` watches its loop, ``views`` puts the conformal loss in the
place of the host's, and ``patching`` makes the edit. ``trainers`` has callbacks for Lightning and
for the Trainer of Hugging Face.
"""
