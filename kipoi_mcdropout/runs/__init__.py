"""One way of running, for ISM and for variants alike.

A run is units in order: each is computed (here, by a cluster, or as a shard's share), kept in a store,
and assembled into the outputs. Resuming takes the units that are in the store; merging takes them from
the stores of all shards.
"""
