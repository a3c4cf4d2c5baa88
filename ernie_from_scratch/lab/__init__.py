"""The lab: what runs and notebooks show; curves, bars, masked sentences in colour, reports."""
