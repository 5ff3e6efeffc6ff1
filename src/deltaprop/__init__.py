"""deltaprop: fully connected networks on your own table, back-propagation in closed form."""

__version__ = "0.1.0"
