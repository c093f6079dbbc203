"""The program `python -m stages.embed REQUEST`."""

from stages.embed.config import EmbedConfig
from stages.embed.produce import produce
from stages.shell import run

if __name__ == "__main__":
    run(EmbedConfig, produce, shared=True)
