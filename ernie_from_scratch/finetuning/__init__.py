"""Fine-tuning: a pretrained network and labelled examples to a model that does a task."""
