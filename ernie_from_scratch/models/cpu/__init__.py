"""The fast path on a CPU, behind the plain layers of models/: hand-written backward passes and packed rows.

Every function here gives the result of a plain line in models/; nothing but speed and memory depends on it.
"""
