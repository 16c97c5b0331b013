"""From files and arrays to restored photos: borders, tiles and the :class:`~blindsr.inference.facade.BlindSR` facade."""
