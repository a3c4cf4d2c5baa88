"""The fine-tuning room: from a pretrained network and labelled examples to a model that does a task."""
