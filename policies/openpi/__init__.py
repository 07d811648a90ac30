"""Policies behind a server that speaks openpi's WebSocket protocol: `policy=openpi policy.address=ws://HOST:PORT`.

The message format is that of the package openpi-client (https://github.com/Physical-Intelligence/openpi). That package
itself is not used: it declares numpy < 2, and its client waits for an answer without a limit.
"""

from policies.openpi.policy import OpenPiPolicy, build

__all__ = ["OpenPiPolicy", "build"]
