"""Run a decision server until Ctrl-C."""

from __future__ import annotations

import asyncio
import functools
import signal

from sim_eval.rollout.inference import one_torch_thread
from sim_eval.serving.decisions import decide
from sim_eval.serving.offer import Offer, build_offer
from sim_eval.serving.server import DecisionServer
from sim_eval.serving.settings import ServeSettings


def serve(settings: ServeSettings) -> None:
    """Build the models, print the address, and answer until SIGINT or SIGTERM. Raises RunError before it listens."""
    asyncio.run(_run(settings, build_offer(settings)))


async def _run(settings: ServeSettings, offer: Offer) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = DecisionServer(
        offer,
        functools.partial(decide, offer.models),
        settings.limits,
        settings.token,
        settings.seed,
        one_torch_thread=one_torch_thread(offer.models.policy),
    )
    async with server.listening(settings.host, settings.port) as port:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"ws://{host}:{port} serves {settings.policy.label} with {', '.join(offer.samplers)}", flush=True)
        await stop.wait()
    print("closed")
