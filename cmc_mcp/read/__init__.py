"""The read pipeline: retrieve → rank → dedupe → reconcile → fit, one stage a file."""
