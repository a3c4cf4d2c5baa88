"""What makes the networks fast on a CPU: hand-written backward passes and packing, behind the plain layers."""
