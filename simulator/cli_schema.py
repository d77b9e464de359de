"""The command ``simulator schema``."""

from __future__ import annotations

from typing import Annotated

import typer

from replicator.errors import BadInput


def schema(
    result: Annotated[bool, typer.Option("--result", help="Of the JSON of a run instead.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Of a fault plan, TOML or JSON.")] = False,
    campaign: Annotated[
        bool, typer.Option("--campaign", help="Of the JSON of a campaign.")
    ] = False,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Of the JSON of simulator coverage.")
    ] = False,
    comparison: Annotated[
        bool, typer.Option("--comparison", help="Of the JSON of simulator compare.")
    ] = False,
    store: Annotated[bool, typer.Option("--store", help="Of the JSON of simulator store.")] = False,
    capacity: Annotated[
        bool, typer.Option("--capacity", help="Of the JSON of simulator plan.")
    ] = False,
) -> None:
    """Print the JSON Schema of scenarios, or of another kind of file."""
    from simulator.report.record import result_json_schema, schema_text

    asked = {
        "result": result,
        "plan": plan,
        "campaign": campaign,
        "coverage": coverage,
        "comparison": comparison,
        "store": store,
        "capacity": capacity,
    }
    chosen = [name for name, wanted in asked.items() if wanted]
    if len(chosen) > 1:
        raise BadInput(
            f"one schema at a time: {', '.join(f'--{name}' for name in chosen)}",
            remedy="Give one of them.",
        )
    if not chosen:
        from simulator.scenario import scenario_json_schema

        document = scenario_json_schema()
    elif result:
        document = result_json_schema()
    elif plan:
        from simulator.plans.plan import plan_json_schema

        document = plan_json_schema()
    elif store:
        from simulator.exchange.ese.store_record import store_json_schema

        document = store_json_schema()
    elif capacity:
        from simulator.plan.plan_record import plan_json_schema as capacity_json_schema

        document = capacity_json_schema()
    else:
        from simulator.campaign.records import record_schema

        document = record_schema(chosen[0])
    print(schema_text(document), end="")
