"""From batches to second moments: on the dense network, or stage by stage on the pruned one."""
