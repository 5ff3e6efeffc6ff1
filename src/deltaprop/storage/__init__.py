"""Model files and checkpoints: where they lie, and what stands in them.

``places`` reads and writes single files, locally or at a URL; ``folders`` does so for a folder.
``format`` is the container (safetensors), ``codec`` the content (JSON and tensors, never pickle).
``checkpoint_files`` keeps the numbered files of a checkpoint folder.
"""
