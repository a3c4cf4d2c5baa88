"""One run on many processes: who they are, how they are started, and how the network is spread over them."""
