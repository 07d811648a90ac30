"""A picture drawn as a run draws it. `doctor` runs it in a process of its own, which a broken GL library may end."""

from __future__ import annotations

import os

_SCENE = """
<mujoco>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="above" pos="0 0 1"/>
    <geom type="box" size="0.1 0.1 0.1" rgba="1 0 0 1" group="1"/>
  </worldbody>
</mujoco>
"""


def draw() -> str:
    """The backend and the renderer that drew: "egl, llvmpipe ...". Raises TaskError if nothing can be drawn."""
    from tasks.robosuite_import import load_robosuite

    load_robosuite()  # first, as in a run: it imports mujoco without GL
    import mujoco

    from tasks.rendering import OffscreenRenderer
    from tasks.task import TaskError

    model = mujoco.MjModel.from_xml_string(_SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    picture = OffscreenRenderer(model).draw(data, "above", 64)
    from OpenGL import GL  # after the renderer, which names its platform

    drawn = f"{os.environ['PYOPENGL_PLATFORM']}, {GL.glGetString(GL.GL_RENDERER).decode()}"
    if picture.min() == picture.max():
        raise TaskError(f"{drawn} draws an empty picture; set MUJOCO_GL to the other of egl and osmesa")
    return drawn
