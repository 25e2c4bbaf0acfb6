"""The class world: symbols drawn, spoken and described, in scenes of one or two."""
