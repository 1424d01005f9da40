"""Models: the n-gram baseline, and what builds, loads, saves and measures transformers models."""

# Architectures of our own: model_type -> what makes transformers know it.
ARCHITECTURES = {
    "tilth-recurrent": "tilth.models.recurrent:register",
    "tilth-retro": "tilth.models.retro:register",
}
