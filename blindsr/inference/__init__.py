"""From files and arrays to restored photos: borders, tiles, the facade, :class:`blindsr.inference.facade.BlindSR`."""
