"""Reading and writing the bytes of model files and checkpoints.

``places`` reads and writes single files, locally or at a URL; ``folders`` does so for a folder.
``format`` is the container (safetensors), ``codec`` the content (JSON and tensors, never pickle).
``checkpoint_files`` manages the numbered files of a checkpoint folder.
"""
