"""From single requests to a stage's figures."""

import math
from collections.abc import Mapping, Sequence

from cosyserve.client.measure.counters import Counted
from cosyserve.client.measure.plan import Stage
from cosyserve.client.measure.record import Outcome, OwnTime, Run, Spread, StageReport


def spread(values: Sequence[float]) -> Spread | None:
    """None of no values."""
    ranked = sorted(values)
    if not ranked:
        return None
    return Spread(
        count=len(ranked),
        mean=sum(ranked) / len(ranked),
        p50=_rank(ranked, 0.50),
        p95=_rank(ranked, 0.95),
        worst=ranked[-1],
    )


def _rank(ranked: Sequence[float], quantile: float) -> float:
    return ranked[math.ceil(quantile * len(ranked)) - 1]


def stage_report(stage: Stage, runs: Sequence[Run], counted: Counted, wall_s: float, cpu_s: float) -> StageReport:
    """counted: by the service meanwhile. cpu_s: what the measuring client took."""
    whole = [run for run in runs if run.outcome is Outcome.WHOLE]
    dry = sum(run.underruns > 0 for run in whole)
    return StageReport(
        name=stage.name,
        clients=stage.clients,
        voice=stage.voice,
        level=stage.level,
        planned=len(stage.asks),
        whole=len(whole),
        refused=_codes(runs, Outcome.REFUSED),
        failed=_codes(runs, Outcome.FAILED),
        cut=len([run for run in runs if run.outcome is Outcome.CUT]),
        first=spread([run.first_s for run in runs if run.first_s is not None]),
        underruns=sum(run.underruns for run in runs),
        silence_s=sum(run.silence_s for run in runs),
        without_underrun=1 - dry / len(whole) if whole else None,
        audio_s=sum(run.audio_s for run in runs),
        wall_s=wall_s,
        client_busy=cpu_s / wall_s if wall_s else 0.0,
        counters=counted.counters,
        times=_own_times(counted.histograms),
        runs=runs,
    )


def _own_times(histograms: Mapping[str, tuple[float, float]]) -> dict[str, OwnTime]:
    return {name: OwnTime(count=count, sum=total) for name, (count, total) in histograms.items()}


def _codes(runs: Sequence[Run], outcome: Outcome) -> dict[str, int]:
    """How many ended so, by code."""
    codes = [run.code for run in runs if run.outcome is outcome]
    return {code: codes.count(code) for code in sorted(set(codes))}
