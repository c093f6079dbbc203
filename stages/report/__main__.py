"""The program `python -m stages.report REQUEST`."""

from stages.report.config import ReportConfig
from stages.report.produce import produce
from stages.shell import run

if __name__ == "__main__":
    run(ReportConfig, produce)
