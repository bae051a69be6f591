"""`hitpaw models`: the models, the vendor's limits and its prices."""

from collections.abc import Iterator
from typing import Annotated, Any

from hitpaw_async._core import limits, pricing
from hitpaw_async.cli.exit_codes import ExitCode
from hitpaw_async.cli.inputs.flags import JSON
from hitpaw_async.cli.output.json_lines import write_line
from hitpaw_async.cli.output.tables import print_table
from hitpaw_async.models import VideoModel

__all__ = ["model_events", "models", "print_models"]


def models(*, is_json: Annotated[bool, JSON] = False) -> int:
    """List the models, the vendor's limits and its prices."""
    if not is_json:
        print_models()
        return ExitCode.DONE
    for event in model_events():
        write_line(event)
    return ExitCode.DONE


def print_models() -> None:
    """Print the models, the limits and the prices, from the tables that the library decides by."""
    print_table(
        ["id", "name", "model"], [(str(int(model)), model.slug, model.title) for model in VideoModel], right=["id"]
    )
    tariff = pricing.V3_TARIFF
    rows = []
    floor = 0
    for band in tariff.bands:
        name = f"over {floor} fps" if band.rate_max is None else f"up to {band.rate_max} fps"
        rows.append((name, *map(str, band.credits_per_minute)))
        floor = band.rate_max or floor
    sizes = [f"{tier.name} {tier.long_side}x{tier.short_side}" for tier in tariff.tiers]
    print(f"\nCredits per minute, begun minutes counted whole (tariff {tariff.name}, read on {tariff.read_on})\n")
    print_table(["frame rate", *sizes], rows, right=sizes)
    print(f"\n{_limits_text()}")


def model_events() -> Iterator[dict[str, Any]]:
    """The same as JSON Lines: a line a model, a line a price, and the limits."""
    for model in VideoModel:
        yield {"event": "model", "id": int(model), "name": model.slug, "title": model.title}
    tariff = pricing.V3_TARIFF
    for band in tariff.bands:
        for tier, credits_per_minute in zip(tariff.tiers, band.credits_per_minute, strict=True):
            yield {
                "event": "price",
                "tier": tier.name,
                "resolution_max": [tier.long_side, tier.short_side],
                "frame_rate_max": band.rate_max,
                "credits_per_minute": credits_per_minute,
            }
    yield {
        "event": "limits",
        "side_min": limits.SIDE_MIN_PX,
        "resolution_max": [*limits.RESOLUTION_MAX],
        "duration_max_s": limits.DURATION_MAX_S,
        "size_max_bytes": limits.SIZE_MAX_BYTES,
        "containers": [*limits.CONTAINERS],
    }


def _limits_text() -> str:
    side = limits.SIDE_MIN_PX
    return (
        f"Limits: {side}x{side} to {limits.RESOLUTION_MAX}, {limits.DURATION_MAX_S // 60} minutes, "
        f"{limits.SIZE_MAX_BYTES // 10**6} MB; {', '.join(limits.CONTAINERS)}."
    )
