"""A decision server: frozen policy and samplers behind openpi's WebSocket protocol, for many clients."""
