"""A stand-in of Cupid, the hotel content API: hotels made of their ids, faults on demand, a log of what was asked."""
