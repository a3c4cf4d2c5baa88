"""What all models share: their configuration, and a folder to come from and go to."""

from paddle import nn


class PretrainedModel(nn.Layer):
    def __init__(self, config):
        super().__init__()
        self.config = config
