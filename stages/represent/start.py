"""Go on from an earlier encoder: its weights and its preprocessing, where it is the same network."""

from pipeline.artifacts import Artifact
from pipeline.errors import ConfigError
from stages.networks.encoder import DESCRIPTION_FILE, WEIGHTS_FILE, Encoder, EncoderDescription, load_encoder


def start_from(artifact: Artifact, wanted: EncoderDescription) -> Encoder:
    """Rebuild an earlier encoder for further training; refuse one of another network than the wanted."""
    earlier = load_encoder(artifact.path(DESCRIPTION_FILE), artifact.path(WEIGHTS_FILE))
    old = earlier.description
    encoder = Encoder(wanted.model_copy(update={"mean": old.mean, "std": old.std}))
    shapes = {name: tuple(t.shape) for name, t in earlier.state_dict().items()}
    if old.backbone != wanted.backbone or shapes != {n: tuple(t.shape) for n, t in encoder.state_dict().items()}:
        raise ConfigError(
            f"represent.start: encoder {artifact.key} is {describe(old)}, and not {describe(wanted)} as represent asks "
            "for.",
            "Ask for the same backbone, width and kind of image_size (up to 64 pixels or above), or leave start empty.",
        )
    encoder.load_state_dict(earlier.state_dict())
    return encoder


def describe(description: EncoderDescription) -> str:
    """Name a network in a few words."""
    width = f" of width {description.width}" if description.backbone == "small_cnn" else ""
    return f"{description.backbone}{width} for {description.image_size} pixels"
