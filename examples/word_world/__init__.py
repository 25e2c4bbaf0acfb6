"""The word world: words written, drawn and spoken, and small encoders in place of the paper's."""
