"""What a display says that no event tells: it follows from the configuration."""

from __future__ import annotations

from attrs import frozen

from csv2kafka.config import RunConfig


@frozen(kw_only=True)
class Words:
    """``looking``: what is done until the source is known. ``opening``: from then on, until the first row or session.
    ``dead_letters``: where refused rows are; empty if they are nowhere. ``restart``: what ``--restart`` would do.
    ``stopping``: what becomes of what is on the way. ``after``: what has been done with the source's objects, once the
    run has ended well; empty if nothing."""

    looking: str = "looking at the source"
    opening: str = "connecting"
    dead_letters: str = ""
    restart: str = "begins again at row 0"
    stopping: str = "stopping; what is on the way is committed"
    after: str = ""


def run_words(config: RunConfig) -> Words:
    """Those of a run."""
    lease = "waiting for the lease of another run to end"
    kept = config.on_bad_row == "dead-letter"
    if config.output is not None:
        return Words(
            opening=lease,
            dead_letters=f"{config.output}.bad" if kept else "",
            restart=f"empties {config.output} and begins again at row 0",
            after=config.after or "",
        )
    alone = config.checkpoints.startswith("kafka:")
    connecting = f"connecting to {config.bootstrap_servers}"
    return Words(
        looking=f"looking at the source, {connecting}" if alone else Words().looking,
        opening=connecting if alone else f"{connecting}, or {lease}",
        dead_letters=f"topic {config.dead_letter_topic}" if kept else "",
        restart="begins again at row 0: every row is sent again, behind what stands in the topic",
        after=config.after or "",
    )


def verify_words(config: RunConfig) -> Words:
    """Those of a verification."""
    if config.output is not None:
        return Words(opening=f"opening {config.output}", stopping="stopping")
    return Words(opening=f"connecting to {config.bootstrap_servers}", stopping="stopping")


def check_words(destination: str) -> Words:
    """Those of a receipt that is checked."""
    return Words(opening=f"looking at the source, or opening {destination}", stopping="stopping")
