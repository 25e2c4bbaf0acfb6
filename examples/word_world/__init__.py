"""The word world: words written, drawn and spoken; small encoders play the paper's parts."""
