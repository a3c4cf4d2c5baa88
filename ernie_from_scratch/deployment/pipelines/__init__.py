"""From text to prediction: one file for each task, and `pipeline` to load the one that a folder needs."""

from ernie_from_scratch.deployment.pipelines.base import Pipeline, pipeline

__all__ = ["Pipeline", "pipeline"]
