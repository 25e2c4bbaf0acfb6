"""Tables of models on tasks, with intervals, beside the paper's figures."""
